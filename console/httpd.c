/*
 * httpd.c
 *	  Requests and answers: what is between microhttpd and the rest of the program.
 *
 * Limits are kept here: the size of headers and bodies, how many connections, how long a
 * request may take to arrive, which hosts may be asked for. So are the headers that every
 * answer has. There is one way to answer, http_answer.
 *
 * A Request is made when its headers are there and freed by microhttpd's notice that it is
 * done with it. Between `handle` and the answer its connection is suspended, so that it
 * cannot go away: whoever holds a Request may use it until it answers.
 */
#include "httpd.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "loop.h"
#include "text.h"

#define ARRIVAL_SECONDS 15 /* for a whole request, counted from the previous answer */
#define ANSWER_SECONDS 60  /* for an answer to be taken */
#define CONNECTION_MEMORY (32 * 1024)
#define TLS_VERSIONS "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1" /* as GnuTLS has it: 1.2 or newer */
#define ARGS_MAX 16
#define EXTRA_MAX 4

/* A connection, as long as it is open. */
typedef struct Connection
{
	struct Connection *next;
	struct Connection **at;
	int fd;
	double deadline; /* 0: none, it is waiting for us */
} Connection;

struct Request
{
	struct MHD_Connection *mhd;
	Connection *connection;
	const char *method;
	const char *path;
	char host_address[INET6_ADDRSTRLEN];
	WhBuffer body;
	size_t n_args;
	struct
	{
		char *name;
		char *value; /* NULL: it had none, or could not be decoded */
	} args[ARGS_MAX];
	bool bad; /* its query cannot be read */
	enum
	{
		ARRIVING,
		HANDLED,  /* suspended, or inside `handle` */
		ANSWERED, /* the answer is made, and not yet queued */
		QUEUED
	} state;
	bool suspended;
	unsigned int status;
	struct MHD_Response *response;
	size_t n_extra;
	struct
	{
		const char *name;
		char *value;
	} extra[EXTRA_MAX];
};

static struct MHD_Daemon *daemon_;
static HttpOptions options;
static void (*handler)(Request *request);
static void (*refuser)(Request *request, unsigned int status, const char *why, const char *hint);
static Watch watch = {.fd = -1};
static Connection *connections;
static unsigned int n_connections;
static uint64_t answered;
static bool must_run; /* microhttpd has something to do although no descriptor is ready */

/*
 * What was asked
 */

const char *
http_method(const Request *request)
{
	return strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
}

const char *
http_path(const Request *request)
{
	return request->path;
}

const char *
http_header(const Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

const char *
http_cookie(const Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->mhd, MHD_COOKIE_KIND, name);
}

const char *
http_address(const Request *request)
{
	return request->host_address;
}

char *
http_body(Request *request, size_t *len)
{
	*len = request->body.len;
	return request->body.data;
}

bool
http_arg(const Request *request, size_t i, const char **name, const char **value)
{
	if (i >= request->n_args)
		return false;
	*name = request->args[i].name;
	*value = request->args[i].value;
	return true;
}

static bool
known_host(const char *host)
{
	for (const char *const *h = options.hosts; host && *h; h++)
		if (strcasecmp(*h, host) == 0)
			return true;
	return false;
}

/*
 * Browsers say where a request comes from in Sec-Fetch-Site, and older ones in Origin,
 * which no page can forge. The origin must be the host that was asked, over the scheme
 * that people see.
 */
bool
http_same_origin(const Request *request)
{
	const char *site = http_header(request, "Sec-Fetch-Site");
	const char *origin = http_header(request, "Origin");
	const char *host = http_header(request, "Host");
	const char *scheme = options.tls || options.behind_proxy ? "https://" : "http://";

	if (site && strcmp(site, "same-origin") != 0)
		return false;
	if (origin == NULL)
		return site != NULL;
	return host && strncmp(origin, scheme, strlen(scheme)) == 0 &&
		   strcasecmp(origin + strlen(scheme), host) == 0;
}

/* Whoever the proxy says last, where there is one: what stands before that, anybody can write. */
static void
note_address(Request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const char *forwarded = options.behind_proxy ? http_header(request, "X-Forwarded-For") : NULL;

	snprintf(request->host_address, sizeof(request->host_address), "unknown");
	if (forwarded)
	{
		const char *last = strrchr(forwarded, ',');

		last = last ? last + 1 : forwarded;
		snprintf(request->host_address, sizeof(request->host_address), "%s", last + strspn(last, " "));
	}
	else if (info && info->client_addr->sa_family == AF_INET)
		(void) inet_ntop(AF_INET, &((const struct sockaddr_in *) (const void *) info->client_addr)->sin_addr,
						 request->host_address, sizeof(request->host_address));
	else if (info && info->client_addr->sa_family == AF_INET6)
		(void) inet_ntop(AF_INET6,
						 &((const struct sockaddr_in6 *) (const void *) info->client_addr)->sin6_addr,
						 request->host_address, sizeof(request->host_address));
}

/*
 * Answering
 */

void
http_set_header(Request *request, const char *name, const char *value)
{
	if (request->n_extra < EXTRA_MAX && (request->extra[request->n_extra].value = strdup(value)) != NULL)
		request->extra[request->n_extra++].name = name;
}

/* On every answer, whatever it is. */
static const char *const always[][2] = {
	{"Cache-Control", "no-store"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"X-Frame-Options", "DENY"},
	{"Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"},
	{"Content-Security-Policy",
	 "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
	 "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"},
};

void
http_answer(Request *request, unsigned int status, const char *type, const char *body, size_t len,
			HttpBody kind)
{
	request->response = MHD_create_response_from_buffer(
		len, (void *) (uintptr_t) body, kind == HTTP_FIXED ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY);
	request->status = status;
	request->state = ANSWERED;
	if (request->response)
	{
		(void) MHD_add_response_header(request->response, "Content-Type", type);
		for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
			(void) MHD_add_response_header(request->response, always[i][0], always[i][1]);
		if (options.tls || options.behind_proxy)
			(void) MHD_add_response_header(request->response, "Strict-Transport-Security",
										   "max-age=31536000");
		for (size_t i = 0; i < request->n_extra; i++)
			(void) MHD_add_response_header(request->response, request->extra[i].name,
										   request->extra[i].value);
	}
	answered++;
	if (request->suspended)
	{
		request->suspended = false;
		MHD_resume_connection(request->mhd);
		must_run = true;
	}
}

/* Give microhttpd the answer. MHD_NO, and the connection is closed: there was no memory. */
static enum MHD_Result
queue(Request *request)
{
	enum MHD_Result result =
		request->response ? MHD_queue_response(request->mhd, request->status, request->response) : MHD_NO;

	request->state = QUEUED;
	request->connection->deadline = loop_now() + ANSWER_SECONDS;
	return result;
}

/*
 * Arriving
 */

static enum MHD_Result
add_arg(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Request *request = cls;
	char *n = strdup(name);
	char *v = value ? strdup(value) : strdup("");

	(void) kind;
	if (n == NULL || v == NULL || request->n_args == ARGS_MAX || !text_unescape(n, true) ||
		!text_unescape(v, true))
	{
		request->bad = true;
		free(n);
		free(v);
		return MHD_NO;
	}
	request->args[request->n_args].name = n;
	request->args[request->n_args++].value = v;
	return MHD_YES;
}

static enum MHD_Result
add_size(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	size_t *size = cls;

	(void) kind;
	*size += strlen(name) + (value ? strlen(value) : 0) + 4;
	return MHD_YES;
}

static enum MHD_Result
count_hosts(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void) kind;
	(void) value;
	if (strcasecmp(name, "Host") == 0)
		++*(int *) cls;
	return MHD_YES;
}

/* Is there a reason to refuse it by its headers alone? NULL: none. */
static const char *
refusal(Request *request, unsigned int *status)
{
	const char *length = http_header(request, "Content-Length");
	size_t size = 0;
	int hosts = 0;

	(void) MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, add_size, &size);
	(void) MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, count_hosts, &hosts);
	if (*status = 431, size + strlen(request->path) > HTTP_HEADERS_MAX)
		return "the headers of the request are larger than 8 kB";
	if (*status = 400, length && http_header(request, "Transfer-Encoding"))
		return "the request says its length in two ways";
	if (*status = 421, hosts != 1 || !known_host(http_header(request, "Host")))
		return "this host name is not served here; serve --host allows further ones";
	if (*status = 413, length && strtoull(length, NULL, 10) > HTTP_BODY_MAX)
		return "the body of the request is larger than 64 kB";
	if (*status = 400, request->bad)
		return "the query of the request cannot be read";
	return NULL;
}

static Request *
begin(struct MHD_Connection *mhd, const char *url, const char *method)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	Request *request = calloc(1, sizeof(*request));

	if (request == NULL || info == NULL || info->socket_context == NULL)
	{
		free(request);
		return NULL;
	}
	request->mhd = mhd;
	request->connection = info->socket_context;
	request->method = method;
	request->path = url;
	wh_buffer_init(&request->body, HTTP_BODY_MAX);
	note_address(request);
	(void) MHD_get_connection_values(mhd, MHD_GET_ARGUMENT_KIND, add_arg, request);
	return request;
}

static void
refuse(Request *request, unsigned int status, const char *why)
{
	request->state = HANDLED;
	http_set_header(request, "Connection", "close");
	refuser(request, status, why, NULL);
}

static enum MHD_Result
access_(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
		const char *upload_data, size_t *upload_data_size, void **con_cls)
{
	Request *request = *con_cls;
	const char *why;
	unsigned int status;

	(void) cls;
	(void) version;
	if (request == NULL)
	{
		*con_cls = request = begin(mhd, url, method);
		if (request == NULL)
			return MHD_NO;
		why = refusal(request, &status);
		if (why)
		{
			refuse(request, status, why);
			return queue(request); /* before its body is read */
		}
		return MHD_YES;
	}
	if (*upload_data_size > 0)
	{
		if (request->state == ARRIVING)
			wh_buffer_append(&request->body, upload_data, *upload_data_size);
		*upload_data_size = 0; /* what is over the limit is read and dropped, within the time there is */
		return MHD_YES;
	}
	if (request->state == ARRIVING)
	{
		request->state = HANDLED;
		request->connection->deadline = 0;
		if (request->body.failed)
			refuse(request, request->body.full ? 413 : 503, "the body of the request is larger than 64 kB");
		else
			handler(request);
		if (request->state == HANDLED)
		{
			request->suspended = true;
			MHD_suspend_connection(mhd);
			return MHD_YES;
		}
	}
	return request->state == ANSWERED ? queue(request) : MHD_YES;
}

static void
completed(void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode code)
{
	Request *request = *con_cls;

	(void) cls;
	(void) mhd;
	(void) code;
	if (request == NULL)
		return;
	request->connection->deadline = loop_now() + ARRIVAL_SECONDS;
	if (request->response)
		MHD_destroy_response(request->response);
	for (size_t i = 0; i < request->n_args; i++)
	{
		free(request->args[i].name);
		free(request->args[i].value);
	}
	for (size_t i = 0; i < request->n_extra; i++)
		text_forget(request->extra[i].value);
	if (request->body.data)
		explicit_bzero(request->body.data, request->body.cap);
	wh_buffer_free(&request->body);
	free(request);
	*con_cls = NULL;
}

static void
connected(void *cls, struct MHD_Connection *mhd, void **socket_context,
		  enum MHD_ConnectionNotificationCode code)
{
	Connection *c = *socket_context;

	(void) cls;
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
	{
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

		c = info ? calloc(1, sizeof(*c)) : NULL;
		if (c == NULL)
			return; /* its requests are refused */
		c->fd = info->connect_fd;
		c->deadline = loop_now() + ARRIVAL_SECONDS;
		c->next = connections;
		c->at = &connections;
		if (connections)
			connections->at = &c->next;
		connections = c;
		n_connections++;
		*socket_context = c;
	}
	else if (c)
	{
		*c->at = c->next;
		if (c->next)
			c->next->at = c->at;
		n_connections--;
		free(c);
		*socket_context = NULL;
	}
}

/* Paths and queries are decoded where they are taken apart: "a%2Fb" is one segment. */
static size_t
leave_escaped(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void) cls;
	(void) mhd;
	return strlen(text);
}

static void
run(void *owner)
{
	(void) owner;
	(void) MHD_run(daemon_);
}

bool
http_start(const HttpOptions *given, void (*handle)(Request *request),
		   void (*refuse_with)(Request *request, unsigned int status, const char *why, const char *hint))
{
	const union MHD_DaemonInfo *info;
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (given->tls ? MHD_USE_TLS : 0);
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *) (uintptr_t) given->tls_cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *) (uintptr_t) given->tls_key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *) (uintptr_t) TLS_VERSIONS},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	options = *given;
	handler = handle;
	refuser = refuse_with;
	daemon_ = MHD_start_daemon(flags, 0, NULL, NULL, access_, NULL, MHD_OPTION_LISTEN_SOCKET,
							   options.listen_fd, MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX,
							   MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) CONNECTION_MEMORY,
							   MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) ANSWER_SECONDS,
							   MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
							   connected, NULL, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
							   MHD_OPTION_ARRAY, given->tls ? tls : none, MHD_OPTION_END);
	if (daemon_ == NULL)
		return false;
	info = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
	watch.ready = run;
	return info != NULL && loop_watch(&watch, info->epoll_fd, EPOLLIN);
}

void
http_before_wait(void)
{
	/* an answer may lead to the next request of the same connection, and that to an answer */
	for (int i = 0; must_run && i < 100; i++)
	{
		must_run = false;
		(void) MHD_run(daemon_);
	}
}

/*
 * A connection whose time is over is shut down, and microhttpd then finds it closed. Its
 * own time limit is for silence, which a byte now and then breaks.
 */
void
http_tick(void)
{
	double now = loop_now();

	for (Connection *c = connections; c; c = c->next)
		if (c->deadline > 0 && c->deadline < now)
		{
			(void) shutdown(c->fd, SHUT_RDWR);
			c->deadline = 0;
		}
	(void) MHD_run(daemon_);
}

void
http_stop(void)
{
	loop_unwatch(&watch);
	MHD_stop_daemon(daemon_);
}

uint64_t
http_requests_answered(void)
{
	return answered;
}

unsigned int
http_connections(void)
{
	return n_connections;
}
