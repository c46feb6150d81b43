/* The floor: the least that any front with worker processes must do.
 *
 * One epoll loop speaks HTTP/1.1 keep-alive and hands each request body to one
 * of a fixed number of forked workers over a socketpair; the worker answers a
 * constant and the loop writes that answer with the headers of an Invoke
 * response.  These are the same two hops as those of a warm invocation, without
 * everything that makes a service: no signature, name, policy, limit or log.
 *
 *     client --HTTP--> front --frame--> worker
 *     client <--HTTP-- front <--frame-- worker
 *
 * A frame is a length (4 bytes, host order) and that many bytes.  Towards the
 * worker it holds the request id (36 characters) and the event, back only the
 * answer.
 *
 * The worker that became idle last is taken first: its memory is still in the
 * cache, and with few callers only few workers ever run.  With all of them busy
 * a connection waits in line.
 *
 * Nothing is pinned to a core.  Whoever wants one core says so from outside
 * (taskset), for the front and the workers alike.
 *
 * usage: floor [WORKERS]        prints "http://127.0.0.1:PORT", ends on SIGTERM
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    WORKERS_MAX = 256,
    REQUEST_MAX = 64 * 1024, /* head and body; the benchmark's events are small */
    ANSWER_MAX = 4 * 1024,
    EVENTS_MAX = 64,
    ID_LENGTH = 36,
};

static const char ANSWER[] = "{\"ok\": true}"; /* what the benchmark's handler returns, too */

struct worker;

struct connection {
    enum { FRONT_LISTENER, FRONT_SIGNAL, CONNECTION, WORKER } kind; /* first member of all */
    int fd;
    bool closed;
    struct worker *worker;     /* busy with this connection's request, or NULL */
    bool waiting;              /* in line for a worker */
    struct connection *next;   /* in that line; after closing, among the dead */
    char id[ID_LENGTH];        /* of the request under way */
    size_t body_at, body_size; /* where its body is in `in` */
    size_t size;
    char in[REQUEST_MAX];
};

struct worker {
    int kind;
    int fd;
    pid_t pid;
    struct connection *connection; /* NULL: idle, or the caller has gone */
    size_t size;
    char in[ANSWER_MAX];
};

static struct worker workers[WORKERS_MAX];
static int worker_count = 32;
static struct worker *idle[WORKERS_MAX]; /* a stack: newest idle on top */
static int idle_count;
static struct connection *line_head, *line_tail; /* without a worker yet, oldest first */
static struct connection *dead; /* freed only after the batch of events that may name them */
static int epoll_fd;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int fd, void *owner) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = owner};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

/* ---- worker: its whole life ---- */

static bool read_fully(int fd, void *into, size_t size) {
    for (size_t got = 0; got < size;) {
        ssize_t n = read(fd, (char *)into + got, size - got);
        if (n <= 0) return false;
        got += n;
    }
    return true;
}

/* Two reads a request (length, rest), as the function process does; end-of-file
 * is the order to end. */
static void work(int fd) {
    static char event[ID_LENGTH + REQUEST_MAX];
    char answer[sizeof(uint32_t) + sizeof ANSWER - 1];
    uint32_t size = sizeof ANSWER - 1;
    memcpy(answer, &size, sizeof size);
    memcpy(answer + sizeof size, ANSWER, size);
    while (read_fully(fd, &size, sizeof size) && size <= sizeof event && read_fully(fd, event, size))
        if (write(fd, answer, sizeof answer) != sizeof answer) break;
    _exit(0);
}

static void start_workers(void) {
    for (int i = 0; i < worker_count; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) die("socketpair");
        pid_t pid = fork();
        if (pid < 0) die("fork");
        if (pid == 0) {
            /* The front's ends of earlier workers came along: held open here,
             * they would keep end-of-file from those workers. */
            for (int k = 0; k < i; k++) close(workers[k].fd);
            close(pair[0]);
            work(pair[1]);
        }
        close(pair[1]);
        workers[i] = (struct worker){.kind = WORKER, .fd = pair[0], .pid = pid};
        idle[idle_count++] = &workers[i];
    }
}

static void stop_workers(void) {
    for (int i = 0; i < worker_count; i++) close(workers[i].fd);
    for (int i = 0; i < worker_count; i++) waitpid(workers[i].pid, NULL, 0);
}

/* ---- what an answer carries ---- */

static const char HEX[] = "0123456789abcdef";

/* Random bytes from a block: a system call for each id would cost more than the id. */
static const unsigned char *random_bytes(size_t size) {
    static unsigned char block[4096];
    static size_t used = sizeof block;
    if (used + size > sizeof block) {
        if (getrandom(block, sizeof block, 0) != sizeof block) die("getrandom");
        used = 0;
    }
    used += size;
    return block + used - size;
}

static void write_hex(char *to, const unsigned char *from, size_t size) {
    for (size_t i = 0; i < size; i++) {
        to[2 * i] = HEX[from[i] >> 4];
        to[2 * i + 1] = HEX[from[i] & 15];
    }
}

static void write_uuid(char *to) {
    unsigned char bytes[16];
    memcpy(bytes, random_bytes(sizeof bytes), sizeof bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    static const struct { int at, size; } part[] = {{0, 4}, {9, 2}, {14, 2}, {19, 2}, {24, 6}};
    const unsigned char *from = bytes;
    for (int i = 0; i < 5; from += part[i++].size) {
        if (i) to[part[i].at - 1] = '-';
        write_hex(to + part[i].at, from, part[i].size);
    }
}

/* The second's date and trace prefix, made once a second. */
static const char *date_header(char **root) {
    static time_t second;
    static char date[64], prefix[16];
    time_t now = time(NULL);
    if (now != second) {
        struct tm tm;
        second = now;
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
        snprintf(prefix, sizeof prefix, "1-%08x-", (unsigned)now);
    }
    *root = prefix;
    return date;
}

static size_t write_answer(char *to, size_t room, const char *id, const char *body, size_t size) {
    char trace[25] = "", *root;
    const char *date = date_header(&root);
    write_hex(trace, random_bytes(12), 12);
    int head = snprintf(to, room,
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: %zu\r\n"
        "Date: %s\r\n"
        "x-amzn-RequestId: %.*s\r\n"
        "X-Amz-Executed-Version: $LATEST\r\n"
        "X-Amzn-Trace-Id: Root=%s%s;Sampled=0\r\n\r\n",
        size, date, ID_LENGTH, id, root, trace);
    memcpy(to + head, body, size);
    return head + size;
}

/* ---- front ---- */

static void close_connection(struct connection *c) {
    if (c->closed) return;
    c->closed = true;
    if (c->worker) c->worker->connection = NULL; /* its answer will be thrown away */
    if (c->waiting) {
        struct connection **at = &line_head, *before = NULL;
        for (; *at != c; at = &(*at)->next) before = *at;
        *at = c->next;
        if (line_tail == c) line_tail = before;
    }
    close(c->fd);
    c->next = dead;
    dead = c;
}

static void send_event(struct connection *c, struct worker *w) {
    static char frame[sizeof(uint32_t) + ID_LENGTH + REQUEST_MAX];
    uint32_t size = ID_LENGTH + c->body_size;
    memcpy(frame, &size, sizeof size);
    memcpy(frame + sizeof size, c->id, ID_LENGTH);
    memcpy(frame + sizeof size + ID_LENGTH, c->in + c->body_at, c->body_size);
    w->connection = c;
    c->worker = w;
    /* An idle worker has an empty socket buffer, larger than any frame: it all fits. */
    if (send(w->fd, frame, sizeof size + size, MSG_NOSIGNAL) != (ssize_t)(sizeof size + size)) die("send to worker");
}

/* Value of a header of the head that ends at `end`, or NULL. */
static const char *find_header(const char *head, const char *end, const char *name, size_t size) {
    for (const char *at = head; (at = memchr(at, '\n', end - at)) != NULL;)
        if (end - ++at > (ptrdiff_t)size && at[size] == ':' && strncasecmp(at, name, size) == 0) return at + size + 1;
    return NULL;
}

/* Starts the request at the front of the buffer if it is there whole. */
static void start_request(struct connection *c) {
    char *end = memmem(c->in, c->size, "\r\n\r\n", 4);
    if (!end) {
        if (c->size == REQUEST_MAX) close_connection(c);
        return;
    }
    const char *length = find_header(c->in, end, "content-length", 14);
    if (strncmp(c->in, "POST ", 5) != 0 || !length) {
        static const char refused[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        send(c->fd, refused, sizeof refused - 1, MSG_NOSIGNAL);
        close_connection(c);
        return;
    }
    c->body_at = end + 4 - c->in;
    c->body_size = strtoul(length, NULL, 10);
    if (c->body_size > REQUEST_MAX - c->body_at) {
        close_connection(c);
    } else if (c->size >= c->body_at + c->body_size) {
        write_uuid(c->id);
        if (idle_count) {
            send_event(c, idle[--idle_count]);
        } else {
            c->waiting = true;
            c->next = NULL;
            if (line_tail) line_tail->next = c;
            else line_head = c;
            line_tail = c;
        }
    }
}

static void on_request_bytes(struct connection *c) {
    ssize_t n = recv(c->fd, c->in + c->size, REQUEST_MAX - c->size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) { /* gone, or a caller that sent 64 KB ahead */
        close_connection(c);
        return;
    }
    c->size += n;
    if (!c->worker && !c->waiting) start_request(c);
}

static void on_worker_bytes(struct worker *w) {
    static char out[ANSWER_MAX + 512];
    uint32_t size;
    ssize_t n = recv(w->fd, w->in + w->size, ANSWER_MAX - w->size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) die("worker ended");
    w->size += n;
    if (w->size < sizeof size) return;
    memcpy(&size, w->in, sizeof size);
    if (w->size < sizeof size + size) return;

    struct connection *c = w->connection;
    w->connection = NULL;
    w->size = 0;
    if (c) {
        size_t length = write_answer(out, sizeof out, c->id, w->in + sizeof size, size);
        c->worker = NULL;
        c->size -= c->body_at + c->body_size;
        memmove(c->in, c->in + c->body_at + c->body_size, c->size);
        /* The caller reads each answer before its next request, so that the
         * send buffer is empty here; one that does not is cut off. */
        if (send(c->fd, out, length, MSG_NOSIGNAL) != (ssize_t)length) close_connection(c);
    }
    if (line_head) {
        struct connection *first = line_head;
        line_head = first->next;
        if (!line_head) line_tail = NULL;
        first->waiting = false;
        send_event(first, w);
    } else {
        idle[idle_count++] = w;
    }
    if (c && !c->closed && c->size) start_request(c);
}

static void on_connect(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = malloc(sizeof *c);
    if (!c) die("malloc");
    memset(c, 0, offsetof(struct connection, in));
    c->kind = CONNECTION;
    c->fd = fd;
    watch(fd, c);
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1024) < 0) die("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    if (argc > 1) worker_count = atoi(argv[1]);
    if (worker_count < 1 || worker_count > WORKERS_MAX) return fprintf(stderr, "floor [1 to %d workers]\n", WORKERS_MAX), 2;
    start_workers(); /* first of all, so that they inherit no socket but their own */

    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    int signal_kind = FRONT_SIGNAL, listener_kind = FRONT_LISTENER;
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    watch(signalfd(-1, &ends, SFD_CLOEXEC), &signal_kind);
    for (int i = 0; i < worker_count; i++) watch(workers[i].fd, &workers[i]);
    int listener = listen_on_loopback();
    watch(listener, &listener_kind);

    struct epoll_event events[EVENTS_MAX];
    for (bool running = true; running;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            void *owner = events[i].data.ptr;
            switch (*(int *)owner) {
            case FRONT_SIGNAL: running = false; break;
            case FRONT_LISTENER: on_connect(listener); break;
            case CONNECTION: if (!((struct connection *)owner)->closed) on_request_bytes(owner); break;
            case WORKER: on_worker_bytes(owner); break;
            }
        }
        while (dead) {
            struct connection *c = dead;
            dead = c->next;
            free(c);
        }
    }
    stop_workers();
    return 0;
}
