/*
 * local_server.c
 *	  The server of local_server.h. One thread polls all its sockets; a lock
 *	  guards what the test looks at.
 */
#define _GNU_SOURCE /* memmem */
#include "local_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 400
#define REQUESTS_KEPT 64

typedef struct Connection
{
	int fd; /* -1: unused */
	bool waiting;
	bool served;
	size_t len;
	char bytes[SERVER_BODY_MAX + 8192];
} Connection;

static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int listener;
static int wake[2]; /* a byte for each command */
static Connection connections[CONNECTIONS_MAX];
static ServerRequest requests[REQUESTS_KEPT];
static int n_connections;
static int n_requests;
static int n_tokens;
static bool released;

static void
hang_up(Connection *c)
{
	close(c->fd);
	c->fd = -1;
}

static bool
send_bytes(Connection *c, const char *bytes, size_t len)
{
	while (len > 0)
	{
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t) n;
	}
	return true;
}

static bool
send_text(Connection *c, const char *text)
{
	return send_bytes(c, text, strlen(text));
}

static void
send_answer(Connection *c, int status, const char *more, const char *body, size_t len)
{
	char head[1024];
	size_t head_len = (size_t) snprintf(
		head, sizeof(head), "HTTP/1.1 %d Whatever\r\n%sContent-Length: %zu\r\n\r\n", status, more, len);

	/* at once: what comes late after a 304, which has no body, would be taken for the next answer */
	if (len < sizeof(head) - head_len)
	{
		memcpy(head + head_len, body, len);
		send_bytes(c, head, head_len + len);
	}
	else if (send_text(c, head))
		send_bytes(c, body, len);
}

/* The same again and again, until enough is sent or nobody listens any more. */
static void
send_many(Connection *c, const char *text, size_t total)
{
	for (size_t sent = 0; sent < total && send_text(c, text); sent += strlen(text))
		;
}

static void
answer_long(Connection *c)
{
	static char body[9999];

	body[0] = 'a';
	for (size_t i = 1; i + 1 < sizeof(body); i += 2)
		memcpy(body + i, "\xc3\xa9", 2);
	send_answer(c, 200, "", body, sizeof(body));
}

/* A token endpoint: the n-th token is "token-n". */
static void
answer_token(Connection *c, const char *life)
{
	char json[512];

	snprintf(json, sizeof(json),
			 " {\"token_type\": \"bEARER\", \"expires_in\": %s, \"access_token\": \"token\\u002d%d\"}", life,
			 ++n_tokens);
	send_answer(c, 200, "Content-Type: application/json\r\n", json, strlen(json));
}

/* An endpoint that wants a token of this number or later. */
static void
answer_if_authorized(Connection *c, const ServerRequest *r, int from)
{
	const char *value = request_header(r, "Authorization");
	int number = 0;

	if (value)
		sscanf(value, "Bearer token-%d", &number);
	send_answer(c, number >= from ? 200 : 401, "", "", 0);
}

static void
answer(Connection *c, const ServerRequest *r, const char *path)
{
	static const char dirty[] = "a\0b\xff\xc3(\xed\xa0\x80\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x82";

	if (strncmp(path, "/status/", 8) == 0)
	{
		char body[64];

		snprintf(body, sizeof(body), "status %d", atoi(path + 8));
		send_answer(c, atoi(path + 8), "", body, strlen(body));
	}
	else if (strncmp(path, "/retry-after/", 13) == 0)
	{
		char more[320];

		snprintf(more, sizeof(more), "Retry-After:  %s \r\n", path + 17);
		for (char *c = more; *c; c++)
			*c = (char) (*c == '_' ? ' ' : *c);
		send_text(c, "HTTP/1.1 103 Early Hints\r\nRetry-After: 1000\r\n\r\n");
		send_answer(c, atoi(path + 13), more, "", 0);
	}
	else if (strncmp(path, "/cookie/", 8) == 0)
	{
		send_text(c, "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n");
		send_answer(c, atoi(path + 8),
					"X-Request-Id: 7\xff\r\nset-cookie: s=secret;\r\n path=secret\r\nX-Last: a\r\n b\r\n", "",
					0);
	}
	else if (strncmp(path, "/many-headers", 13) == 0)
	{
		send_text(c, "HTTP/1.1 500 No\r\n");
		send_many(c, "X-More: 0123456789abcdef0123456789abcde\r\n", 4100);
		send_text(c, "Content-Length: 0\r\n\r\n");
	}
	else if (strncmp(path, "/recover", 8) == 0)
		send_answer(c, released ? 200 : 500, "", released ? "well" : "ill_", 4);
	else if (strncmp(path, "/wait", 5) == 0)
	{
		c->waiting = true;
		if (released)
			send_answer(c, 200, "", "", 0);
		c->waiting = !released;
	}
	else if (strncmp(path, "/hang", 5) == 0)
		return;
	else if (strncmp(path, "/token/", 7) == 0)
		answer_token(c, path + 7);
	else if (strncmp(path, "/error/", 7) == 0)
	{
		char json[512];

		snprintf(json, sizeof(json), "{\"error\": \"%s\"}", path + 7);
		send_answer(c, 400, "", json, strlen(json));
	}
	else if (strncmp(path, "/from/", 6) == 0)
		answer_if_authorized(c, r, atoi(path + 6));
	else if (strncmp(path, "/refuse", 7) == 0)
	{
		static const char json[] =
			"{\"status\": \"error\", \"code\": \"not_found\", \"message\": \"no such player\"}";

		send_answer(c, 200, "", json, sizeof(json) - 1);
	}
	else if (strncmp(path, "/redirect", 9) == 0)
		send_answer(c, 302, "Location: /status/200\r\n", "", 0);
	else if (strncmp(path, "/long", 5) == 0)
		answer_long(c);
	else if (strncmp(path, "/dirty", 6) == 0)
		send_answer(c, 200, "", dirty, sizeof(dirty) - 1);
	else if (strncmp(path, "/first", 6) == 0 && !c->served)
	{
		send_answer(c, 200, "", "", 0);
		c->served = true;
	}
	else if (strncmp(path, "/last", 5) == 0)
	{
		send_answer(c, 200, "Connection: close\r\n", "", 0);
		hang_up(c);
	}
	else if (strncmp(path, "/large", 6) == 0)
	{
		send_text(c, "HTTP/1.1 200 Whatever\r\nContent-Length: 8388608\r\n\r\n");
		send_many(c, "0123456789abcdef", 8 * 1024 * 1024);
		hang_up(c);
	}
	else if (strncmp(path, "/headers", 8) == 0)
	{
		send_text(c, "HTTP/1.1 200 Whatever\r\n");
		send_many(c, "X-More: 0123456789abcdef0123456789abcdef\r\n", 1024 * 1024);
		hang_up(c);
	}
	else if (strncmp(path, "/folded", 7) == 0)
		send_answer(c, 200, " of: nothing\r\n", "", 0);
	else if (strncmp(path, "/line", 5) == 0)
	{
		send_text(c, "HTTP/1.1 200 Whatever\r\nX-More: ");
		send_many(c, "0123456789abcdef", 1024 * 1024);
		hang_up(c);
	}
	else
	{
		if (strncmp(path, "/cut", 4) == 0)
			send_text(c, "HTTP/1.1 200 Whatever\r\nContent-Type: text/plain\r\n");
		else if (strncmp(path, "/partial", 8) == 0)
			send_text(c, "HTTP/1.1 200 Whatever\r\nContent-Length: 100\r\n\r\nhalf of it");
		else if (strncmp(path, "/garbage", 8) == 0)
			send_text(c, "220 mail.example ESMTP\r\n\r\n");
		hang_up(c); /* also for /close */
	}
}

/* Is there a whole request? Then write it down and answer it. */
static bool
one_request(Connection *c)
{
	char *end = memmem(c->bytes, c->len, "\r\n\r\n", 4);
	ServerRequest r = {0};
	const char *length;
	char path[256];
	size_t head_len;

	if (end == NULL)
		return false;
	head_len = (size_t) (end - c->bytes) + 4;
	assert(head_len < sizeof(r.head));
	memcpy(r.head, c->bytes, head_len);
	length = request_header(&r, "Content-Length");
	r.body_len = length ? (size_t) atol(length) : 0;
	assert(r.body_len < sizeof(r.body));
	if (c->len < head_len + r.body_len)
		return false;
	memcpy(r.body, c->bytes + head_len, r.body_len);
	c->len -= head_len + r.body_len;
	memmove(c->bytes, c->bytes + head_len + r.body_len, c->len);

	if (n_requests < REQUESTS_KEPT)
		requests[n_requests] = r;
	n_requests++;
	if (sscanf(r.head, "POST %255s", path) == 1)
		answer(c, &r, path);
	else if (strncmp(r.head, "CONNECT ", 8) == 0)
		send_answer(c, 407, "Proxy-Authenticate: Basic realm=\"p\"\r\n", "", 0);
	else
		hang_up(c);
	return c->fd >= 0;
}

static void
read_from(Connection *c)
{
	ssize_t n = recv(c->fd, c->bytes + c->len, sizeof(c->bytes) - c->len, 0);

	if (n <= 0)
	{
		hang_up(c);
		return;
	}
	c->len += (size_t) n;
	if (c->bytes[0] == 0x16) /* a TLS client, at the wrong door */
	{
		send_answer(c, 400, "", "", 0);
		hang_up(c);
		return;
	}
	while (one_request(c))
		;
}

static void
accept_one(void)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	n_connections++;
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (connections[i].fd < 0)
		{
			connections[i].fd = fd;
			connections[i].len = 0;
			connections[i].waiting = connections[i].served = false;
			return;
		}
	close(fd);
}

/* What the test asks for; false: to stop. */
static bool
obey(char command)
{
	if (command == 'f')
		n_connections = n_requests = 0;
	released = command == 'r';
	for (int i = 0; i < CONNECTIONS_MAX; i++)
	{
		Connection *c = &connections[i];

		if (c->fd < 0)
			continue;
		if (command != 'r')
			hang_up(c);
		else if (c->waiting)
			send_answer(c, 200, "", "", 0);
		c->waiting = false;
	}
	return command != 's';
}

static void *
serve(void *arg)
{
	static struct pollfd fds[CONNECTIONS_MAX + 2];
	static Connection *of[CONNECTIONS_MAX + 2];
	bool on = true;

	(void) arg;
	while (on)
	{
		nfds_t n = 2;

		fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = wake[0], .events = POLLIN};
		for (int i = 0; i < CONNECTIONS_MAX; i++)
			if (connections[i].fd >= 0)
			{
				of[n] = &connections[i];
				fds[n++] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
			}
		poll(fds, n, -1);
		pthread_mutex_lock(&lock);
		for (nfds_t i = 2; i < n; i++)
			if (fds[i].revents)
				read_from(of[i]);
		if (fds[0].revents)
			accept_one();
		if (fds[1].revents)
		{
			char command;

			on = read(wake[0], &command, 1) == 1 && obey(command);
		}
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

int
server_start(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	for (int i = 0; i < CONNECTIONS_MAX; i++)
		connections[i].fd = -1;
	n_connections = n_requests = n_tokens = 0;
	released = false;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *) &address, len) != 0 || listen(listener, 100) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &len) != 0 || pipe(wake) != 0 ||
		pthread_create(&thread, NULL, serve, NULL) != 0)
		abort();
	return ntohs(address.sin_port);
}

static void
command(char c)
{
	if (write(wake[1], &c, 1) != 1)
		abort();
}

void
server_stop(void)
{
	command('s');
	pthread_join(thread, NULL);
	close(listener);
	close(wake[0]);
	close(wake[1]);
}

/* What is asked or counted next belongs to what comes after the command. */
static void
wait_until_obeyed(void)
{
	for (bool done = false; !done;)
	{
		struct pollfd fd = {.fd = wake[0], .events = POLLIN};

		pthread_mutex_lock(&lock);
		done = poll(&fd, 1, 0) == 0;
		pthread_mutex_unlock(&lock);
	}
}

void
server_release(void)
{
	command('r');
	wait_until_obeyed();
}

void
server_forget(void)
{
	command('f');
	wait_until_obeyed();
}

int
server_connections(void)
{
	int n;

	pthread_mutex_lock(&lock);
	n = n_connections;
	pthread_mutex_unlock(&lock);
	return n;
}

int
server_requests(void)
{
	int n;

	pthread_mutex_lock(&lock);
	n = n_requests;
	pthread_mutex_unlock(&lock);
	return n;
}

ServerRequest
server_request(int i)
{
	ServerRequest r = {0};

	pthread_mutex_lock(&lock);
	if (i < n_requests && i < REQUESTS_KEPT)
		r = requests[i];
	pthread_mutex_unlock(&lock);
	return r;
}

const char *
request_header(const ServerRequest *r, const char *name)
{
	static __thread char value[512];
	size_t len = strlen(name);

	for (const char *line = strstr(r->head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':')
		{
			if (sscanf(line + 3 + len, " %511[^\r]", value) != 1)
				value[0] = '\0';
			return value;
		}
	return NULL;
}
