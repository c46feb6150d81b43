/* The load generator: N keep-alive connections, one Invoke in flight on each.
 *
 * Every connection sends the same prepared request, with an invocation id of
 * its own each time, waits for the whole answer, checks it and sends the next.
 * The request looks as boto3 writes it.  Its signature has the form of one but
 * signs nothing, unless --date and --authorization give one that is good for
 * path and body: the invocation id is not signed.
 *
 * An answer is right when it is a 200 without X-Amz-Function-Error, its
 * Content-Length is that of the expected body, the body is the expected one and
 * no byte follows.  The first wrong one is shown on standard error.  After a
 * wrong answer, or when the server closes, a connection is given up: an error
 * must not turn into a fast request.
 *
 * With --throttled an answer may also be a 429 of that body, with the error type
 * TooManyRequestsException.  It is counted apart, its time is not, and the next
 * request follows at once: such callers are as bad as callers can be.
 *
 * With --rate so many requests are sent a second, all connections together, each
 * connection at its own fixed instants.  Where an answer comes too late for the
 * next instant, the next request's time is counted from that instant: a slow
 * server must not be asked less and look better for it.
 *
 * With --settle the first seconds are run and not measured: what is answered in
 * them is checked and counted, and is not among the percentiles.
 *
 * With --event every request is an Event invocation, and the right answer a 202
 * without a body.
 *
 * usage: load --port P [--connections N] [--seconds S | --count C] [--rate R] [--settle S]
 *             [--path PATH] [--body JSON] [--expect JSON] [--throttled JSON] [--event]
 *             [--date STAMP --authorization TEXT]
 *
 * One line of JSON comes out; `requests`, `rps` and the percentiles are those of
 * the 200s.  `cpu_share` is this program's own part of one core: near 1 it
 * measured itself, not the server.  Exit status 1 if anything was wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, REQUEST_MAX = 64 * 1024, ANSWER_MAX = 64 * 1024 };
enum { SILENCE_MS = 30000 }; /* a server that hangs must not hang the run */

struct connection {
    int fd;
    uint64_t sent_at; /* ns */
    uint64_t due_at;  /* ns; of the next request, with --rate */
    bool waits;       /* for that instant */
    size_t size;
    char in[ANSWER_MAX];
};

static const char *path = "/2015-03-31/functions/f/invocations";
static const char *body = "{\"key1\": \"value1\", \"key2\": \"value2\", \"key3\": \"value3\"}";
static const char *expect = "{\"ok\": true}";
static const char *throttled; /* NULL: a 429 is wrong */
static const char *date, *authorization; /* NULL: now, and one that signs nothing */
static const char *status = "HTTP/1.1 200 ", *type = "";

static struct connection all[CONNECTIONS_MAX]; /* untouched pages cost nothing */
static char request[REQUEST_MAX];
static size_t request_size;
static char *invocation_id; /* its last 12 digits, inside `request` */

static uint64_t sent, errors, answered, refused, latency_room;
static uint64_t interval_ns; /* between requests of one connection; 0: as fast as answers come */
static uint64_t *latency_ns; /* of every right answer: exact percentiles */

static void die(const char *what) {
    perror(what);
    exit(2);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void prepare_request(int port) {
    char stamp[32], unsigning[256];
    time_t now = time(NULL);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime(&now));
    snprintf(unsigning, sizeof unsigning,
        "AWS4-HMAC-SHA256 Credential=test/%.8s/us-east-1/lambda/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7", stamp);
    int size = snprintf(request, sizeof request,
        "POST %s HTTP/1.1\r\n"
        "Host: 127.0.0.1:%d\r\n"
        "Accept-Encoding: identity\r\n"
        "User-Agent: Boto3/1.43.11 md/Botocore#1.43.11 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11.7 "
        "md/pyimpl#CPython m/b,D,Z cfg/retry-mode#legacy Botocore/1.43.11\r\n"
        "X-Amz-Date: %s\r\n"
        "Authorization: %s\r\n"
        "amz-sdk-invocation-id: 3f2b1c9e-5a0e-4c55-9b1e-000000000000\r\n"
        "amz-sdk-request: attempt=1\r\n"
        "%sContent-Length: %zu\r\n\r\n%s",
        path, port, date ? date : stamp, authorization ? authorization : unsigning, type, strlen(body), body);
    if (size >= (int)sizeof request) {
        fprintf(stderr, "request over %d bytes\n", REQUEST_MAX);
        exit(2);
    }
    request_size = size;
    invocation_id = strstr(request, "amz-sdk-invocation-id: ") + strlen("amz-sdk-invocation-id: ") + 24;
}

static int connect_to(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void send_request(struct connection *c) {
    static const char hex[] = "0123456789abcdef";
    uint64_t rest = ++sent;
    for (int i = 11; i >= 0; i--, rest >>= 4) invocation_id[i] = hex[rest & 15];
    c->size = 0;
    c->sent_at = now_ns();
    /* Blocking on purpose: an empty send buffer takes a whole small request. */
    if (send(c->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) c->sent_at = 0;
}

static void record(uint64_t ns) {
    if (answered == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 1 << 16;
        if (!(latency_ns = realloc(latency_ns, latency_room * sizeof *latency_ns))) die("realloc");
    }
    latency_ns[answered++] = ns;
}

enum verdict { INCOMPLETE, RIGHT, REFUSED, WRONG };

/* Judges what has come so far.  The buffer ends with a zero, which no head
 * contains, so that string functions stop in time. */
static enum verdict judge(struct connection *c) {
    char *end = memmem(c->in, c->size, "\r\n\r\n", 4);
    if (!end) return c->size + 1 < ANSWER_MAX ? INCOMPLETE : WRONG;
    bool refusal = throttled && strncmp(c->in, "HTTP/1.1 429 ", 13) == 0;
    if (!refusal && strncmp(c->in, status, 13) != 0) return WRONG;
    const char *due = refusal ? throttled : expect;
    size_t due_size = strlen(due);
    *end = 0; /* searches below stay in the head */
    const char *length = strcasestr(c->in, "\r\ncontent-length:");
    bool fault = refusal ? !strcasestr(c->in, "\r\nx-amzn-errortype: TooManyRequestsException")
                         : strcasestr(c->in, "\r\nx-amz-function-error:") != NULL;
    bool whole = length && strtoul(length + 17, NULL, 10) == due_size;
    *end = '\r';
    if (fault || !whole) return WRONG;
    size_t got = c->size - (end + 4 - c->in);
    if (got < due_size) return INCOMPLETE;
    if (got != due_size || memcmp(end + 4, due, due_size) != 0) return WRONG;
    return refusal ? REFUSED : RIGHT;
}

/* Sends the next request, or leaves the connection to wait for its instant. */
static void go_on(struct connection *c, uint64_t now) {
    c->due_at += interval_ns;
    c->waits = interval_ns && c->due_at > now;
    if (c->waits) return;
    send_request(c);
    if (interval_ns && c->sent_at) c->sent_at = c->due_at;
}

/* Sends what is due and returns the milliseconds until more is. */
static int send_due(int open, uint64_t stop_at) {
    uint64_t now = now_ns(), next = now + SILENCE_MS * 1000000ull;
    for (int i = 0; i < open; i++) {
        struct connection *c = &all[i];
        if (c->waits && now >= stop_at) c->waits = false;
        if (c->waits && c->due_at <= now) {
            c->waits = false;
            send_request(c);
        } else if (c->waits && c->due_at < next) next = c->due_at;
    }
    return (next - now) / 1000000 + 1;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(double part) {
    return answered ? latency_ns[(uint64_t)(part * (answered - 1))] / 1000.0 : 0;
}

static struct {
    int port, connections;
    double seconds, rate, settle;
    uint64_t count;
} option = {.connections = 1, .seconds = 2};

static void parse_options(int argc, char **argv) {
    static const struct option known[] = {
        {"port", required_argument, 0, 'p'},    {"connections", required_argument, 0, 'c'},
        {"seconds", required_argument, 0, 's'}, {"count", required_argument, 0, 'n'},
        {"path", required_argument, 0, 'u'},    {"body", required_argument, 0, 'b'},
        {"expect", required_argument, 0, 'e'},  {"throttled", required_argument, 0, 't'},
        {"rate", required_argument, 0, 'r'},    {"settle", required_argument, 0, 'w'},
        {"event", no_argument, 0, 'v'},         {"date", required_argument, 0, 'd'},
        {"authorization", required_argument, 0, 'a'},
        {0}};
    for (int flag; (flag = getopt_long(argc, argv, "", known, NULL)) != -1;) switch (flag) {
        case 'p': option.port = atoi(optarg); break;
        case 'c': option.connections = atoi(optarg); break;
        case 's': option.seconds = atof(optarg); break;
        case 'n': option.count = strtoull(optarg, NULL, 10); break;
        case 'u': path = optarg; break;
        case 'b': body = optarg; break;
        case 'e': expect = optarg; break;
        case 't': throttled = optarg; break;
        case 'r': option.rate = atof(optarg); break;
        case 'w': option.settle = atof(optarg); break;
        case 'd': date = optarg; break;
        case 'a': authorization = optarg; break;
        case 'v': type = "X-Amz-Invocation-Type: Event\r\n", status = "HTTP/1.1 202 ", expect = ""; break;
        default: exit(2);
        }
    if (option.port < 1 || option.connections < 1 || option.connections > CONNECTIONS_MAX) {
        fprintf(stderr, "load --port P [--connections 1 to %d]\n", CONNECTIONS_MAX);
        exit(2);
    }
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    if (option.rate > 0) interval_ns = option.connections / option.rate * 1e9;
    prepare_request(option.port);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }

    int epoll_fd = epoll_create1(EPOLL_CLOEXEC), open = option.connections;
    if (option.count && option.count < (uint64_t)open) open = option.count;
    if (epoll_fd < 0) die("epoll_create1");
    for (int i = 0; i < open; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = connect_to(option.port);
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &event) < 0) die("epoll_ctl");
    }

    double cpu = cpu_seconds();
    uint64_t start = now_ns(), now = start, stop_at = start + (uint64_t)(option.seconds * 1e9);
    uint64_t measured_at = start + (uint64_t)(option.settle * 1e9), unmeasured = 0;
    for (int i = 0; i < open; i++) {
        all[i].due_at = start + (uint64_t)i * interval_ns / open;
        all[i].waits = interval_ns > 0;
        if (!all[i].waits) send_request(&all[i]);
    }

    uint64_t settled = 0; /* answers judged, right or wrong: all of `sent` in the end */
    struct epoll_event events[64];
    while (settled < sent || (interval_ns && now_ns() < stop_at && errors == 0)) {
        int patience = interval_ns ? send_due(open, stop_at) : SILENCE_MS;
        int count = epoll_wait(epoll_fd, events, 64, patience);
        if (count == 0 && patience >= SILENCE_MS) {
            fprintf(stderr, "no answer for %d ms\n", SILENCE_MS);
            errors += sent - settled;
            break;
        }
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t n = recv(c->fd, c->in + c->size, ANSWER_MAX - 1 - c->size, 0);
            if (n < 0 && errno == EINTR) continue;
            if (n > 0) c->in[c->size += n] = 0;
            enum verdict verdict = n > 0 && c->sent_at ? judge(c) : WRONG;
            if (verdict == INCOMPLETE) continue;
            settled++;
            now = now_ns();
            if (verdict == RIGHT || verdict == REFUSED) {
                if (verdict == REFUSED) refused++;
                else if (now < measured_at) unmeasured++;
                else record(now - c->sent_at);
                if (option.count ? sent < option.count : now < stop_at) go_on(c, now);
            } else {
                if (errors++ == 0) fprintf(stderr, "wrong answer: %.*s\n", (int)c->size, n > 0 ? c->in : "(closed)");
                close(c->fd);
            }
        }
    }
    double seconds = (now_ns() - start) / 1e9;
    cpu = cpu_seconds() - cpu;
    uint64_t right = unmeasured + answered;
    qsort(latency_ns, answered, sizeof *latency_ns, by_value);
    printf("{\"requests\": %llu, \"throttled\": %llu, \"errors\": %llu, \"connections\": %d, "
           "\"seconds\": %.6f, \"rps\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"cpu_share\": %.3f}\n",
           (unsigned long long)right, (unsigned long long)refused, (unsigned long long)errors,
           option.connections, seconds, right / seconds, percentile_us(.5), percentile_us(.9), percentile_us(.99), cpu / seconds);
    return errors != 0;
}
