/*
 * fuzz_response.c
 *	  libFuzzer over what an endpoint answers: the input is the bytes of a
 *	  response, sent over a real connection to libcurl and our callbacks.
 *
 * Beyond not crashing: the request ends, and soon; it is delivered only by a
 * whole head with a status of 2xx; what is kept of the response is valid UTF-8
 * without NUL and bounded. One thread serves both ends; the listener and the
 * engine live as long as the process, a connection for one run.
 */
#define _GNU_SOURCE /* memmem */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http.h"
#include "must.h"

#define SECOND INT64_C(1000000)

static WhHttp *http;
static int listener = -1;
static int port;

static bool
any_address(void *arg, const struct sockaddr *address)
{
	(void) arg;
	(void) address;
	return true;
}

static bool
any_ip(void *arg, const char *ip)
{
	(void) arg;
	(void) ip;
	return true;
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static void
begin(void)
{
	static const WhHttpConfig config = {.address_ok = any_address, .ip_ok = any_ip};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
	socklen_t len = sizeof(address);

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(bind(listener, (struct sockaddr *) &address, len) == 0 && listen(listener, 16) == 0);
	must(getsockname(listener, (struct sockaddr *) &address, &len) == 0);
	port = ntohs(address.sin_port);
	http = wh_http_create(&config);
	must(http != NULL);
}

/* Valid UTF-8 by the C library's own conversion is not at hand in every locale; so, once more and differently. */
static bool
is_text(const char *s)
{
	while (*s)
	{
		const unsigned char *u = (const unsigned char *) s;
		uint32_t c;
		int n;

		if (u[0] < 0x80)
			n = 1, c = u[0];
		else if (u[0] >> 5 == 6)
			n = 2, c = u[0] & 0x1f;
		else if (u[0] >> 4 == 14)
			n = 3, c = u[0] & 0x0f;
		else if (u[0] >> 3 == 30)
			n = 4, c = u[0] & 0x07;
		else
			return false;
		for (int i = 1; i < n; i++)
		{
			if (u[i] >> 6 != 2)
				return false;
			c = c << 6 | (u[i] & 0x3f);
		}
		if ((n == 2 && c < 0x80) || (n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
			(c >= 0xd800 && c <= 0xdfff))
			return false;
		s += n;
	}
	return true;
}

/* Serve one connection, and run the engine, until the transfer has ended. */
static WhTransfer *
exchange(const uint8_t *data, size_t size)
{
	int64_t patience = now_us() + 8 * SECOND;
	WhTransfer *done;
	char request[4096];
	size_t len = 0;
	int connection = -1;

	for (wh_http_run(http, now_us()); (done = wh_http_finished(http)) == NULL; wh_http_run(http, now_us()))
	{
		struct pollfd fds[] = {{.fd = wh_http_fd(http), .events = POLLIN},
							   {.fd = connection < 0 ? listener : connection, .events = POLLIN}};

		must(now_us() < patience);
		poll(fds, 2, 1);
		if (fds[1].revents == 0)
			continue;
		if (connection < 0)
			connection = accept(listener, NULL, NULL);
		else
		{
			ssize_t got = recv(connection, request + len, sizeof(request) - len, 0);

			if (got > 0)
				len += (size_t) got;
			/* read to its end first: a connection closed before is reset, and the response lost */
			if (got > 0 && (len < 2 || memcmp(request + len - 2, "{}", 2) != 0))
				continue;
			if (got > 0)
				send(connection, data, size, MSG_NOSIGNAL);
			close(connection);
			connection = -1;
			len = 0;
		}
	}
	if (connection >= 0)
		close(connection);
	return done;
}

static void
check(const WhTransfer *t, const uint8_t *data, size_t size)
{
	must(t->http_status == 0 || (t->http_status >= 100 && t->http_status <= 999));
	must(strlen(t->retry_after) < WH_RETRY_AFTER_MAX);
	must(strlen(t->error) < WH_ERROR_MAX && is_text(t->error));
	if (t->response)
		must(strlen(t->response) <= WH_RESPONSE_KEPT && is_text(t->response));
	must(t->kind != WH_OUT_ADDRESS && t->kind != WH_OUT_DNS && t->kind != WH_OUT_TIMEOUT);
	if (t->kind == WH_OUT_DELIVERED)
	{
		must(t->http_status >= 200 && t->http_status <= 299);
		must(memmem(data, size, "\n\n", 2) || memmem(data, size, "\n\r", 2));
	}
	else
		must(t->error[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned int n;
	WhTransfer *t;
	char url[64];

	if (http == NULL)
		begin();
	/* all of 127.0.0.0/8 is this host: another address each time, lest we run out of ports */
	n++;
	snprintf(url, sizeof(url), "http://127.0.%u.%u:%d/", n / 250 % 250 + 1, n % 250 + 1, port);
	t = wh_http_acquire(http);
	must(t != NULL && wh_buffer_puts(&t->body, "{}"));
	must(wh_http_start(http, t, url, 5 * SECOND, NULL));
	must(exchange(data, size) == t);
	check(t, data, size);
	wh_http_release(http, t);
	return 0;
}
