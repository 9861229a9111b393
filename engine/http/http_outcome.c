/*
 * http_outcome.c
 *	  How a request ended: libcurl's result -> outcome, status, error text, and
 *	  as much of the response as the log keeps.
 *
 * Texts from outside are made valid UTF-8 here, so that a database can store them. Owns
 * nothing.
 */
#include "http_internal.h"

#include <stdio.h>

/*
 * What OpenSSL found wrong with the certificate: X509_V_ERR_..., whose numbers are part of
 * its ABI. They are copied, because only the files of engine/secret use OpenSSL.
 */
enum
{
	VERIFY_OK = 0,
	VERIFY_UNSPECIFIED = 1, /* libcurl's initial value: OpenSSL has not checked it */
	VERIFY_NO_ISSUER = 2,
	VERIFY_NOT_YET_VALID = 9,
	VERIFY_EXPIRED = 10,
	VERIFY_SELF_SIGNED = 18,
	VERIFY_SELF_SIGNED_IN_CHAIN = 19,
	VERIFY_NO_LOCAL_ISSUER = 20,
	VERIFY_NO_CHAIN = 21,
	VERIFY_UNTRUSTED = 27,
	VERIFY_WRONG_HOST = 62,
	VERIFY_WRONG_ADDRESS = 64
};

/* The peer's certificate was not accepted. Why? */
static WhOutcomeKind
certificate_outcome(const Slot *slot)
{
	long found = VERIFY_OK;

	curl_easy_getinfo(slot->easy, CURLINFO_SSL_VERIFYRESULT, &found);
	switch (found)
	{
		case VERIFY_OK: /* libcurl compares the names itself */
		case VERIFY_UNSPECIFIED:
		case VERIFY_WRONG_HOST:
		case VERIFY_WRONG_ADDRESS:
			return WH_OUT_TLS_WRONG_HOST;
		case VERIFY_EXPIRED:
		case VERIFY_NOT_YET_VALID:
			return WH_OUT_TLS_EXPIRED;
		case VERIFY_NO_ISSUER:
		case VERIFY_SELF_SIGNED:
		case VERIFY_SELF_SIGNED_IN_CHAIN:
		case VERIFY_NO_LOCAL_ISSUER:
		case VERIFY_NO_CHAIN:
		case VERIFY_UNTRUSTED:
			return WH_OUT_TLS_UNKNOWN_CA;
		default:
			return WH_OUT_TLS;
	}
}

static WhOutcomeKind
outcome_of(const Slot *slot, CURLcode rc, int status)
{
	long connect = 0;
	long sent = 0;
	bool nothing_sent;
	curl_off_t pretransfer = 0;
	curl_off_t starttransfer = 0; /* 0: nothing was received */

	curl_easy_getinfo(slot->easy, CURLINFO_PRETRANSFER_TIME_T, &pretransfer);
	curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &sent);
	curl_easy_getinfo(slot->easy, CURLINFO_STARTTRANSFER_TIME_T, &starttransfer);
	/* libcurl 8.23 sets the time already during the handshake */
	nothing_sent = pretransfer == 0 || sent == 0;
	/* a name may have several addresses: it failed because no allowed one was left */
	if (slot->address_refused && rc != CURLE_OK)
		return WH_OUT_ADDRESS;
	if (slot->too_large)
		return WH_OUT_RESPONSE_TOO_LARGE;
	/* a tunnel: the proxy did not answer with 2xx */
	curl_easy_getinfo(slot->easy, CURLINFO_HTTP_CONNECTCODE, &connect);
	if (rc != CURLE_OK && connect != 0 && connect / 100 != 2)
		return WH_OUT_PROXY;
	switch (rc)
	{
		case CURLE_OK:
			/* once there is a status, libcurl accepts a connection closed anywhere */
			if (!slot->headers_ended || status == 0)
				return WH_OUT_RESET;
			return status >= 200 && status <= 299 ? WH_OUT_DELIVERED : WH_OUT_HTTP_ERROR;
		case CURLE_COULDNT_RESOLVE_HOST:
			return WH_OUT_DNS;
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_PROXY:
			return WH_OUT_PROXY;
		case CURLE_COULDNT_CONNECT:
			return WH_OUT_REFUSED;
		case CURLE_OPERATION_TIMEDOUT:
			return nothing_sent ? WH_OUT_CONNECT_TIMEOUT : WH_OUT_TIMEOUT;
		case CURLE_PEER_FAILED_VERIFICATION:
			return certificate_outcome(slot);
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_SSL_CERTPROBLEM:
			return WH_OUT_TLS;
		case CURLE_GOT_NOTHING:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_PARTIAL_FILE:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
		case CURLE_WEIRD_SERVER_REPLY:
		case CURLE_BAD_CONTENT_ENCODING: /* of the transfer: we ask for none */
			return WH_OUT_RESET;
		case CURLE_OUT_OF_MEMORY: /* libcurl's code also for a header line of more than 100 kB */
			return starttransfer == 0 ? WH_OUT_INTERNAL : WH_OUT_RESPONSE_TOO_LARGE;
#if LIBCURL_VERSION_NUM >= 0x080600
		case CURLE_TOO_LARGE: /* the code for such a line since libcurl 8.6 */
			return WH_OUT_RESPONSE_TOO_LARGE;
#endif
		case CURLE_BAD_FUNCTION_ARGUMENT: /* libcurl's code also for a header without a name */
			return starttransfer == 0 ? WH_OUT_INTERNAL : WH_OUT_RESET;
		case CURLE_UNSUPPORTED_PROTOCOL: /* of the URL, or of the answer */
			return nothing_sent ? WH_OUT_INTERNAL : WH_OUT_RESET;
		default:
			return WH_OUT_INTERNAL;
	}
}

/*
 * Copy at most `max` bytes as valid UTF-8 without NUL. Invalid bytes and NUL become "?"; a
 * character that is cut at the end is left out. RFC 3629.
 */
static char *
clean_text(const char *bytes, size_t len, size_t max)
{
	char *out = malloc((len < max ? len : max) + 1); /* no byte becomes more than one */
	size_t n = 0;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < len && n < max;)
	{
		unsigned char c = (unsigned char) bytes[i];
		size_t want = c < 0x80                 ? 1
					  : c >= 0xC2 && c <= 0xDF ? 2
					  : (c & 0xF0) == 0xE0     ? 3
					  : c >= 0xF0 && c <= 0xF4 ? 4
											   : 0;
		bool good = want > 0 && i + want <= len && c != 0;

		for (size_t k = 1; good && k < want; k++)
			good = ((unsigned char) bytes[i + k] & 0xC0) == 0x80;
		if (good && want >= 3)
		{
			unsigned char d = (unsigned char) bytes[i + 1];

			/* overlong forms, surrogates, and code points above U+10FFFF */
			if ((c == 0xE0 && d < 0xA0) || (c == 0xED && d > 0x9F) || (c == 0xF0 && d < 0x90) ||
				(c == 0xF4 && d > 0x8F))
				good = false;
		}
		if (!good)
		{
			if (want > 1 && i + want > len)
				break;
			out[n++] = '?';
			i++;
			continue;
		}
		if (n + want > max)
			break;
		memcpy(out + n, bytes + i, want);
		n += want;
		i += want;
	}
	out[n] = '\0';
	return out;
}

static void
describe(const Slot *slot, CURLcode rc, WhTransfer *t)
{
	const char *message = slot->message[0] ? slot->message : curl_easy_strerror(rc);
	char *clean;

	t->error[0] = '\0';
	if (t->kind == WH_OUT_ADDRESS)
		snprintf(t->error, sizeof(t->error), "the address of the endpoint is not allowed");
	else if (t->kind == WH_OUT_RESPONSE_TOO_LARGE)
		snprintf(t->error, sizeof(t->error), "the response is larger than %d bytes, or its headers than %d",
				 WH_RESPONSE_BODY_MAX, WH_RESPONSE_HEADER_MAX);
	else if (t->kind == WH_OUT_RESET && rc == CURLE_OK)
		snprintf(t->error, sizeof(t->error),
				 "the connection was closed during the response headers, or they have no status");
	else if (t->kind == WH_OUT_HTTP_ERROR)
		snprintf(t->error, sizeof(t->error), "the endpoint answered with status %d", t->http_status);
	else if (rc == CURLE_COULDNT_RESOLVE_PROXY) /* libcurl's text may quote the proxy's URL */
		snprintf(t->error, sizeof(t->error), "the proxy's name does not resolve");
	else if (rc != CURLE_OK)
	{
		clean = clean_text(message, strlen(message), WH_ERROR_MAX - 1);
		snprintf(t->error, sizeof(t->error), "%s", clean ? clean : curl_easy_strerror(rc));
		free(clean);
	}
}

void
wh_http_keep_retry_after(Slot *slot, const char *value, size_t len)
{
	char *kept = slot->transfer.retry_after;

	while (len > 0 && (*value == ' ' || *value == '\t'))
		value++, len--;
	while (len > 0 && strchr(" \t\r\n", value[len - 1]))
		len--;
	if (len >= WH_RETRY_AFTER_MAX)
		len = 0;
	memcpy(kept, value, len);
	kept[len] = '\0';
}

void
wh_http_keep_header(Slot *slot, const char *line, size_t len)
{
	WhBuffer *headers = &slot->transfer.headers;

	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
		len--;
	if (len == 0 || slot->transfer.private || (len >= 5 && memcmp(line, "HTTP/", 5) == 0))
		return;
	if (line[0] != ' ' && line[0] != '\t')
		slot->header_hidden = len >= 10 && strncasecmp(line, "Set-Cookie", 10) == 0;
	if (slot->header_hidden || headers->len + 1 + len > headers->limit)
		return;
	if (headers->len > 0)
		(void) wh_buffer_append(headers, "\n", 1);
	(void) wh_buffer_append(headers, line, len);
}

char *
wh_http_response_headers(const WhTransfer *t)
{
	const WhBuffer *headers = &t->headers;

	return headers->len > 0 ? clean_text(headers->data, headers->len, WH_HEADERS_KEPT) : NULL;
}

void
wh_http_outcome(Slot *slot, CURLcode rc)
{
	WhTransfer *t = &slot->transfer;
	curl_off_t total = 0;
	long status = 0;

	curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(slot->easy, CURLINFO_TOTAL_TIME_T, &total);
	/* for "HTTP/2" over HTTP/1, libcurl accepts any number as a status */
	t->http_status = status >= 100 && status <= 999 ? (int) status : 0;
	t->duration_us = total;
	t->kind = outcome_of(slot, rc, t->http_status);
	t->response = slot->keep.len ? clean_text(slot->keep.data, slot->keep.len, WH_RESPONSE_KEPT) : NULL;
	describe(slot, rc, t);
}
