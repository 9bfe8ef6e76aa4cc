/* A load of HTTP/1.1 POST requests with JSON bodies, from one thread, and how long each answer took.

   Usage: load HOST PORT PATH BODIES CONNECTIONS SECONDS RATE
   BODIES: a file with one body a line, sent in turns. RATE 0: each connection asks again as soon as it is answered
   (closed loop). RATE above 0: so many requests a second are due, evenly, whatever the answers do (open loop); a
   request's time then counts from when it was due, so waiting for a free connection is not left out.

   Connections are kept where the server keeps them, and made again where it does not (as HTTP/1.0 servers close).
   Prints one line of JSON: requests, errors (a status other than 200, or a broken connection), bytes, seconds, CPU
   seconds of this program, and milliseconds from request to the answer's last byte: p50, p90, p99, max. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 20)
#define MOST 4096

typedef struct {
    int socket, busy, kept;
    const char *request;
    size_t length, sent, got;
    long body; /* bytes of the answer's body, -1: until the connection ends */
    size_t head;
    double since;
    char *buffer;
} Connection;

static struct sockaddr_in address;
static int waiter;
static Connection connections[MOST];
static char **requests;
static size_t *lengths, count, next_request;
static double *times;
static size_t answered, room, errors, received;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(Connection *c, int operation, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(waiter, operation, c->socket, &event)) fail("epoll_ctl");
}

static void dial(Connection *c) {
    int on = 1;
    c->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->socket < 0) fail("socket");
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->socket, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) fail("connect");
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void drop(Connection *c) {
    close(c->socket);
    c->kept = 0;
    dial(c);
}

static void push(Connection *c) {
    while (c->sent < c->length) {
        ssize_t n = write(c->socket, c->request + c->sent, c->length - c->sent);
        if (n < 0) return; /* not yet connected or full: epoll says when; broken: reading says so */
        c->sent += n;
    }
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void ask(Connection *c, double since) {
    c->request = requests[next_request % count];
    c->length = lengths[next_request % count];
    next_request++;
    c->sent = c->got = c->head = 0;
    c->body = -1;
    c->busy = 1;
    c->since = since;
    watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    push(c);
}

static void finish(Connection *c, int good, int again) {
    if (good) {
        if (answered == room) {
            room = room ? 2 * room : 1 << 16;
            times = realloc(times, room * sizeof *times);
            if (!times) fail("memory");
        }
        times[answered++] = now() - c->since;
        received += c->got;
    } else {
        errors++;
    }
    c->busy = 0;
    if (again) drop(c); else c->kept = 1;
}

/* The status of an answer whose header is whole, 0 before; notes where its body begins and how long it is. */
static int header(Connection *c) {
    c->buffer[c->got] = 0;
    char *end = strstr(c->buffer, "\r\n\r\n");
    if (!end) return 0;
    if (!c->head) {
        c->head = end + 4 - c->buffer;
        char *found = strcasestr(c->buffer, "\r\ncontent-length:");
        if (found && found < end) c->body = atol(found + 17);
    }
    return atoi(c->buffer + 9);
}

static int closes(Connection *c) {
    char kept = c->buffer[c->head - 1];
    c->buffer[c->head - 1] = 0;
    int closing = !strncmp(c->buffer, "HTTP/1.0", 8) || strcasestr(c->buffer, "connection: close") != NULL;
    c->buffer[c->head - 1] = kept;
    return closing;
}

static void pull(Connection *c) {
    for (;;) {
        if (c->got + 1 >= BUFFER) { finish(c, 0, 1); return; }
        ssize_t n = read(c->socket, c->buffer + c->got, BUFFER - 1 - c->got);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) { /* the end: of an answer without a length, of an idle connection, or of a broken one */
            int whole = n == 0 && c->busy && header(c) == 200 && c->body < 0;
            if (!c->busy) drop(c);
            else if (c->kept && !c->got && !c->head && n == 0) { /* closed between two requests: asked again */
                drop(c);
                c->sent = 0;
            } else finish(c, whole, 1);
            return;
        }
        c->got += n;
        int status = header(c);
        if (status && c->body >= 0 && c->got >= c->head + (size_t)c->body) {
            finish(c, status == 200, closes(c));
            return;
        }
    }
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double share(double p) { return answered ? 1e3 * times[(size_t)(p * (answered - 1))] : 0; }

static void read_bodies(const char *path, const char *host, const char *port, const char *target) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0, space = 0;
    ssize_t n;
    if (!file) fail(path);
    while ((n = getline(&line, &size, file)) > 0) {
        if (line[n - 1] == '\n') n--;
        if (count == space) {
            space = space ? 2 * space : 256;
            requests = realloc(requests, space * sizeof *requests);
            lengths = realloc(lengths, space * sizeof *lengths);
        }
        int head = asprintf(&requests[count],
            "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zd\r\n\r\n%.*s",
            target, host, port, n, (int)n, line);
        if (head < 0) fail("memory");
        lengths[count++] = head;
    }
    if (!count) { fprintf(stderr, "%s holds no body\n", path); exit(1); }
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc != 8) { fprintf(stderr, "usage: load HOST PORT PATH BODIES CONNECTIONS SECONDS RATE\n"); return 2; }
    int many = atoi(argv[5]);
    double seconds = atof(argv[6]), rate = atof(argv[7]);
    if (many < 1 || many > MOST) { fprintf(stderr, "connections: 1 to %d\n", MOST); return 2; }
    address.sin_family = AF_INET;
    address.sin_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) { fprintf(stderr, "host: an IPv4 address\n"); return 2; }
    read_bodies(argv[4], argv[1], argv[2], argv[3]);
    signal(SIGPIPE, SIG_IGN); /* a broken connection is an error to count, not the end */
    waiter = epoll_create1(0);
    for (int i = 0; i < many; i++) {
        connections[i].buffer = malloc(BUFFER);
        if (!connections[i].buffer) fail("memory");
        dial(&connections[i]);
    }
    double start = now(), end = start + seconds;
    size_t due = 0;
    if (rate <= 0) for (int i = 0; i < many; i++) ask(&connections[i], now());
    struct epoll_event events[256];
    for (;;) {
        double t = now();
        int busy = 0;
        if (rate > 0 && t < end)
            for (int i = 0; i < many && start + due / rate <= t; i++)
                if (!connections[i].busy) ask(&connections[i], start + due++ / rate);
        for (int i = 0; i < many; i++) busy += connections[i].busy;
        if (t >= end && (!busy || t > end + 60)) break;
        double pause = t >= end ? 0.1 : rate > 0 && busy < many ? start + due / rate - t : 0.1;
        struct timespec wait = {0, pause <= 0 ? 1000 : pause > 0.1 ? 100000000 : (long)(pause * 1e9)};
        int n = epoll_pwait2(waiter, events, 256, &wait, NULL);
        if (n < 0 && errno != EINTR) fail("epoll");
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (c->busy && c->sent < c->length && events[i].events & EPOLLOUT) push(c);
            else if (!c->busy && events[i].events & EPOLLOUT) watch(c, EPOLL_CTL_MOD, EPOLLIN);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) pull(c);
            if (rate <= 0 && !c->busy && now() < end) ask(c, now());
        }
    }
    double spent = now() - start;
    for (int i = 0; i < many; i++) errors += connections[i].busy; /* not answered a minute after the end */
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    qsort(times, answered, sizeof *times, rising);
    printf("{\"requests\": %zu, \"errors\": %zu, \"bytes\": %zu, \"seconds\": %.3f, \"cpu_seconds\": %.3f, "
           "\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
           answered, errors, received, spent, cpu, share(0.5), share(0.9), share(0.99),
           answered ? 1e3 * times[answered - 1] : 0);
    return 0;
}
