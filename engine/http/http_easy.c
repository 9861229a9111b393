/*
 * http_easy.c
 *	  The handle of one request: its settings for libcurl, and what libcurl's
 *	  callbacks note while it is in flight.
 *
 * A callback allocates nothing without a limit, never calls back into the server, and
 * only notes what it saw.
 */
#include "http_internal.h"

#include <limits.h>
#include <strings.h>
#include <sys/socket.h>

#define USER_AGENT "pgwebhook/1.1"
#define SET(option, value)                                                                                   \
	do                                                                                                       \
	{                                                                                                        \
		if (rc == CURLE_OK)                                                                                  \
			rc = curl_easy_setopt(e, option, (value));                                                       \
	} while (0)

/* libcurl has a buffer for each request that it sends over TLS: 64 kB, unless told otherwise. */
#define SMALL_UPLOAD (16 * 1024) /* the least that it takes */
#define LARGE_UPLOAD (64 * 1024)

/* Does it go out at once, with its headers? */
static bool
is_small_upload(size_t body)
{
	return body < SMALL_UPLOAD - 2048;
}

/*
 * Callbacks
 */

/* A new connection: check the address that is dialled, whatever the name resolved to before. */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	Slot *slot = arg;

	(void) purpose;
	if (!slot->http->config.address_ok(slot->http->config.arg, &address->addr))
	{
		slot->address_refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/*
 * Runs just before a request is written, on new and on reused connections: more than once
 * if libcurl tries again by itself, because a kept connection was dead or the stream was
 * refused. Some versions then go on with a body in pieces from where they have read to, if
 * nothing of it was written: so it begins here.
 */
static int
on_prereq(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	Slot *slot = arg;
	long opened = 0;

	(void) local_ip;
	(void) remote_port;
	(void) local_port;
	slot->tries++;
	slot->sent_piece = slot->sent_of_it = 0;
	if (curl_easy_getinfo(slot->easy, CURLINFO_NUM_CONNECTS, &opened) == CURLE_OK && opened > 0)
		slot->http->connected = true;
	wh_http_set_in_turns(slot, !is_small_upload(wh_buffer_total(&slot->transfer.body)));
	if (slot->http->config.ip_ok(slot->http->config.arg, remote_ip))
		return CURL_PREREQFUNC_OK;
	slot->address_refused = true;
	return CURL_PREREQFUNC_ABORT;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *arg)
{
	Slot *slot = arg;
	size_t len = size * n;
	size_t keep = WH_RESPONSE_KEPT - slot->keep.len;

	slot->received += len;
	if (slot->received > (slot->transfer.private ? WH_PRIVATE_MAX : WH_RESPONSE_BODY_MAX))
	{
		slot->too_large = true;
		return 0;
	}
	if (keep > len)
		keep = len;
	if (slot->transfer.private)
		return wh_buffer_append(&slot->transfer.answer, bytes, len) ? len : 0;
	(void) wh_buffer_append(&slot->keep, bytes, keep); /* without memory, nothing is kept of it */
	return len;
}

static size_t
on_header(char *bytes, size_t size, size_t n, void *arg)
{
	Slot *slot = arg;
	size_t len = size * n;

	wh_http_set_in_turns(slot, true); /* until all of the response is there */
	slot->header_received += len;
	if (slot->header_received > WH_RESPONSE_HEADER_MAX)
	{
		slot->too_large = true;
		return 0;
	}
	wh_http_keep_header(slot, bytes, len);
	if (len <= 2 && (bytes[0] == '\r' || bytes[0] == '\n'))
		slot->headers_ended = true;
	else if (len > 12 && strncasecmp(bytes, "Retry-After:", 12) == 0)
		wh_http_keep_retry_after(slot, bytes + 12, len - 12);
	else if (len > 5 && memcmp(bytes, "HTTP/", 5) == 0)
	{
		/* a new response: the one before was interim */
		slot->transfer.retry_after[0] = '\0';
		wh_buffer_reset(&slot->transfer.headers);
		slot->headers_ended = false;
	}
	return len;
}

/* libcurl wants more of a body that is in pieces. */
static size_t
on_read(char *to, size_t size, size_t n, void *arg)
{
	Slot *slot = arg;
	size_t room = size * n;
	size_t given = 0;
	const char *at;
	size_t len;

	while (given < room && wh_buffer_piece(&slot->transfer.body, slot->sent_piece, &at, &len))
	{
		size_t part = len - slot->sent_of_it;

		if (part > room - given)
			part = room - given;
		memcpy(to + given, at + slot->sent_of_it, part);
		given += part;
		slot->sent_of_it += part;
		if (slot->sent_of_it == len)
		{
			slot->sent_piece++;
			slot->sent_of_it = 0;
		}
	}
	return given;
}

/* libcurl wants it once more, from the beginning: the connection that it was sent on was dead. */
static int
on_seek(void *arg, curl_off_t offset, int origin)
{
	Slot *slot = arg;

	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	slot->sent_piece = slot->sent_of_it = 0;
	return CURL_SEEKFUNC_OK;
}

/*
 * Settings
 */

/* The settings that are the same for all requests. */
static bool
set_up_easy(Slot *slot)
{
	CURL *e = slot->easy;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_PRIVATE, (void *) slot);
	SET(CURLOPT_NOSIGNAL, 1L);
	/* do not wait for the thread of a name look-up that hangs */
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_USERAGENT, USER_AGENT);
	SET(CURLOPT_ERRORBUFFER, slot->message);
	/* only our protocols, and only to the host of the URL */
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, ""); /* ignore the environment's settings of proxies */
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, (void *) slot);
	SET(CURLOPT_PREREQFUNCTION, on_prereq);
	SET(CURLOPT_PREREQDATA, (void *) slot);
	/* TLS */
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_CAPATH, NULL);  /* libcurl caches a file, but not a directory */
	SET(CURLOPT_KEYPASSWD, ""); /* an encrypted key fails; nothing asks at a terminal */
	/* one connection to a host that offers HTTP/2; else HTTP/1.1 with keep-alive */
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	/* responses of limited size, most of them small */
	SET(CURLOPT_BUFFERSIZE, 4096L);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, (void *) slot);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, (void *) slot);
	if (slot->http->ca_file)
		SET(CURLOPT_CAINFO, slot->http->ca_file);
	return rc == CURLE_OK;
}

/* libcurl copies it. */
static CURLcode
set_blob(CURL *e, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.data = (void *) pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};

	return curl_easy_setopt(e, option, &blob);
}

/*
 * Only requests with the same certificates reuse a connection: libcurl compares those of
 * the client and of the authorities.
 */
static bool
set_up_access(Slot *slot, const WhHttpAccess *access)
{
	CURL *e = slot->easy;
	CURLcode rc = CURLE_OK;

	if (access->ca && (rc = set_blob(e, CURLOPT_CAINFO_BLOB, access->ca)) == CURLE_OK)
		SET(CURLOPT_CAINFO, NULL);
	if (rc == CURLE_OK && access->client_certificate)
		rc = set_blob(e, CURLOPT_SSLCERT_BLOB, access->client_certificate);
	if (rc == CURLE_OK && access->client_key)
		rc = set_blob(e, CURLOPT_SSLKEY_BLOB, access->client_key);
	return rc == CURLE_OK;
}

/*
 * We send user and password in a header of our own. libcurl would decode them itself and,
 * if it cannot, dial the endpoint directly. So libcurl does not know them, and could reuse
 * a tunnel that one password has opened for a request with another password, or none.
 * (Not all versions compare passwords even if they know them: CVE-2026-3784.) Hence such a
 * connection is not kept, and is HTTP/1.1, which carries one request at a time.
 */
static bool
set_up_proxy(Slot *slot)
{
	CURL *e = slot->easy;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_PROXYTYPE, (long) CURLPROXY_HTTP);
	SET(CURLOPT_PROXY, slot->proxy);
	if (slot->proxy_headers)
	{
		SET(CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE);
		SET(CURLOPT_PROXYHEADER, slot->proxy_headers);
		SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
		SET(CURLOPT_FRESH_CONNECT, 1L);
		SET(CURLOPT_FORBID_REUSE, 1L);
	}
	return rc == CURLE_OK;
}

static long
milliseconds(int64_t us)
{
	int64_t ms = (us + 999) / 1000;

	return (long) (ms < 1 ? 1 : ms > INT_MAX ? INT_MAX : ms);
}

static long
upload_buffer(size_t body)
{
	return is_small_upload(body) ? SMALL_UPLOAD : LARGE_UPLOAD;
}

static bool
set_up_request(Slot *slot, const char *url, int64_t timeout_us)
{
	const WhBuffer *body = &slot->transfer.body;
	int64_t connect_us = timeout_us < WH_CONNECT_TIMEOUT_US ? timeout_us : WH_CONNECT_TIMEOUT_US;
	CURL *e = slot->easy;
	CURLcode rc = CURLE_OK;

	/*
	 * Waiting for a connection that is being opened pays if it may become HTTP/2.
	 * Without TLS, libcurl learns that it is not from the first response only. If
	 * that never comes, all other requests to the host would wait.
	 */
	SET(CURLOPT_PIPEWAIT, (long) (strncasecmp(url, "https:", 6) == 0));
	SET(CURLOPT_URL, url);
	SET(CURLOPT_HTTPHEADER, slot->headers);
	if (body->n_lent == 0)
		SET(CURLOPT_POSTFIELDS, body->data);
	else
	{
		slot->sent_piece = slot->sent_of_it = 0;
		SET(CURLOPT_POSTFIELDS, NULL); /* the last request's, of a handle that serves again */
		SET(CURLOPT_READFUNCTION, on_read);
		SET(CURLOPT_READDATA, (void *) slot);
		SET(CURLOPT_SEEKFUNCTION, on_seek);
		SET(CURLOPT_SEEKDATA, (void *) slot);
	}
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) wh_buffer_total(body));
	SET(CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer(wh_buffer_total(body)));
	SET(CURLOPT_TIMEOUT_MS, milliseconds(timeout_us));
	SET(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(connect_us));
	return rc == CURLE_OK;
}

/*
 * Handles that serve again
 *
 * Since 8.1.1 only. Before, libcurl keeps a pointer to the last header of a handle's last
 * response. That header is freed when the next request begins, and libcurl would use it if
 * the next response began with a folded line that contains a colon
 * (https://github.com/curl/curl/issues/11101). The version that counts is that of the
 * library that is loaded.
 *
 * A handle serves again only if its last request ended as HTTP has it, and if it was given
 * nothing beyond what all requests have: no certificate, no proxy, no secret that is to be
 * gone, no body in pieces. Nor if libcurl has tried it more than once: it counts that in
 * the handle, never from zero, and gives up after the fifth. A request sets all that
 * differs between requests, so nothing of the last one is left.
 */
#define SERVE_AGAIN_SINCE 0x080101

bool
wh_http_handles_serve_again(void)
{
	return curl_version_info(CURLVERSION_NOW)->version_num >= SERVE_AGAIN_SINCE;
}

void
wh_http_easy_done(Slot *slot)
{
	if (slot->easy == NULL || (slot->http->handles_serve_again && slot->ended_well && !slot->special))
		return;
	curl_easy_cleanup(slot->easy);
	slot->easy = NULL;
}

/* A handle with the settings that all requests have: the last request's, or a new one. */
static bool
common_handle(Slot *slot)
{
	slot->ended_well = false;
	slot->tries = 0;
	if (slot->easy && slot->made_with == slot->http->settings)
		return true;
	wh_http_easy_done(slot);
	slot->made_with = slot->http->settings;
	slot->easy = curl_easy_init();
	return slot->easy && set_up_easy(slot);
}

bool
wh_http_easy(Slot *slot, const char *url, int64_t timeout_us, const WhHttpAccess *access)
{
	slot->special = slot->transfer.private || slot->proxy || slot->transfer.body.n_lent > 0 ||
					(access && (access->ca || access->client_certificate || access->client_key));
	return common_handle(slot) && (access == NULL || set_up_access(slot, access)) &&
		   (slot->proxy == NULL || set_up_proxy(slot)) && set_up_request(slot, url, timeout_us);
}
