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

#define USER_AGENT "pgwebhook/1.0"
#define SET(option, value)                                                                                   \
	do                                                                                                       \
	{                                                                                                        \
		if (rc == CURLE_OK)                                                                                  \
			rc = curl_easy_setopt(e, option, (value));                                                       \
	} while (0)

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

/* Runs just before a request is written, on new and on reused connections. */
static int
on_prereq(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	Slot *slot = arg;
	long opened = 0;

	(void) local_ip;
	(void) remote_port;
	(void) local_port;
	if (curl_easy_getinfo(slot->easy, CURLINFO_NUM_CONNECTS, &opened) == CURLE_OK && opened > 0)
		slot->http->connected = true;
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
	size_t keep = sizeof(slot->keep) - slot->kept;

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
	memcpy(slot->keep + slot->kept, bytes, keep);
	slot->kept += keep;
	return len;
}

static size_t
on_header(char *bytes, size_t size, size_t n, void *arg)
{
	Slot *slot = arg;
	size_t len = size * n;

	slot->header_received += len;
	if (slot->header_received > WH_RESPONSE_HEADER_MAX)
	{
		slot->too_large = true;
		return 0;
	}
	if (len <= 2 && (bytes[0] == '\r' || bytes[0] == '\n'))
		slot->headers_ended = true;
	else if (len > 12 && strncasecmp(bytes, "Retry-After:", 12) == 0)
		wh_http_keep_retry_after(slot, bytes + 12, len - 12);
	else if (len > 5 && memcmp(bytes, "HTTP/", 5) == 0)
	{
		/* a new response: the one before was interim */
		slot->transfer.retry_after[0] = '\0';
		slot->headers_ended = false;
	}
	return len;
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
	SET(CURLOPT_CAPATH, NULL); /* libcurl caches a file, but not a directory */
	/* one connection to a host that offers HTTP/2; else HTTP/1.1 with keep-alive */
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	/* responses of limited size */
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
	SET(CURLOPT_KEYPASSWD, ""); /* an encrypted key fails; nothing asks at a terminal */
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
	SET(CURLOPT_POSTFIELDS, body->data);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) body->len);
	SET(CURLOPT_TIMEOUT_MS, milliseconds(timeout_us));
	SET(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(connect_us));
	return rc == CURLE_OK;
}

/*
 * Make a handle for one request. It does not reuse the last request's handle. libcurl
 * before 8.1.1 keeps a pointer to the last header of a handle's last response. That header
 * is freed when the next request begins, and libcurl would use it if the next response
 * began with a folded line that contains a colon. A handle costs 3 us.
 */
bool
wh_http_easy(Slot *slot, const char *url, int64_t timeout_us, const WhHttpAccess *access)
{
	slot->easy = curl_easy_init();
	return slot->easy && set_up_easy(slot) && (access == NULL || set_up_access(slot, access)) &&
		   (slot->proxy == NULL || set_up_proxy(slot)) && set_up_request(slot, url, timeout_us);
}
