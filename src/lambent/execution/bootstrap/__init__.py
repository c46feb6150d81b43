"""What runs inside the process of a managed Python function.

Stand-alone on purpose: Python 3.9 or newer, standard library only, nothing of the
server. The server starts ``zygote.py`` with the interpreter of a runtime; that process
loads these modules as the private package ``_lambent_bootstrap`` and forks one child
per execution environment, which becomes the function.

=================  ==============================================================
``zygote.py``      the script: loads the package, is the zygote or one function
``parent.py``      the zygote: control messages, fork, reap, end
``child.py``       from the fork to a function that answers
``handler.py``     finds the user's handler
``invocations.py`` the loop: frame in, handler, frame out (the hot path)
``context.py``     the ``context`` argument
``jsontext.py``    JSON exactly as AWS's runtime reads and writes it
``faults.py``      error objects and stack traces
``logs.py``        standard streams, ``logging``, the log lines of errors
``variables.py``   environment variables of the process
``rehearsal.py``   practice before the first spawn (with ``practice.py``)
``preload.py``     modules that functions find loaded
``bytecode.py``    byte code that was compiled at deploy
``process.py``     what the kernel has to be asked
=================  ==============================================================

Whether an answer or a log line is right is decided by what a user of AWS's public
``awslambdaric`` 4.2.2 would see (https://github.com/aws/aws-lambda-python-runtime-interface-client).
"""
