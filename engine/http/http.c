/*
 * http.c
 *	  Requests in flight: libcurl's multi interface, an epoll descriptor, and the
 *	  transfers, of which some are kept for the next requests.
 *
 * All of it runs in one thread. libcurl's callbacks say which sockets to watch and when
 * its next timeout is. The sockets are members of one epoll descriptor, and the worker's
 * loop waits on that among its other events. The multi handle keeps connections, name
 * look-ups and the authorities' certificates, and all transfers share them. Each request
 * has an easy handle (http_easy.c).
 *
 * Rules for code that libcurl calls: a callback allocates nothing without a limit, never
 * calls back into the server, and only notes what it saw. libcurl starts a thread for
 * each name look-up. All signals are blocked around calls into libcurl. So such a thread
 * inherits a full mask, and the process's handlers run only in the main thread.
 */
#include "http_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 128
#define FREE_MAX 256              /* unused transfers that are kept */
#define BODY_KEPT_MAX (16 * 1024) /* and their buffers, if they are no larger */

void
wh_http_enter(WhHttp *http)
{
	sigset_t all;

	if (http->entered++ > 0)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &http->signals);
}

void
wh_http_leave(WhHttp *http)
{
	if (--http->entered == 0)
		pthread_sigmask(SIG_SETMASK, &http->signals, NULL);
}

/*
 * libcurl's callbacks
 */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	WhHttp *http = arg;
	struct epoll_event event = {0};

	(void) easy;
	event.data.fd = fd;
	if (what == CURL_POLL_REMOVE)
	{
		epoll_ctl(http->epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (known == NULL)
		curl_multi_assign(http->multi, fd, http); /* any pointer, to mark it as known */
	return epoll_ctl(http->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	WhHttp *http = arg;

	(void) multi;
	http->timer_ms = timeout_ms;
	http->timer_changed = true;
	return 0;
}

/*
 * Making and freeing
 */

WhHttp *
wh_http_create(const WhHttpConfig *config)
{
	WhHttp *http = calloc(1, sizeof(WhHttp));

	if (http == NULL)
		return NULL;
	http->config = *config;
	http->config.ca_file = NULL;
	http->epoll_fd = -1;
	http->body_max = WH_BODY_MAX;
	http->deadline_us = INT64_MAX;
	http->timer_ms = -1;
	http->handles_serve_again = wh_http_handles_serve_again();
	if (config->ca_file && config->ca_file[0] && (http->ca_file = strdup(config->ca_file)) == NULL)
		goto failed;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		goto failed;
	http->multi = curl_multi_init();
	http->nobody = curl_easy_init();
	http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (http->multi == NULL || http->nobody == NULL || http->epoll_fd < 0)
		goto failed;

	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
#if LIBCURL_VERSION_NUM >= 0x081400
	/* Look-ups that hang: earlier versions leave them behind as CURLOPT_QUICK_EXIT asks. */
	curl_multi_setopt(http->multi, CURLMOPT_QUICK_EXIT, 1L);
#endif
	return http;

failed:
	wh_http_free(http);
	return NULL;
}

/* Wipe what must not stay in memory. */
static void
forget(WhTransfer *transfer)
{
	if (!transfer->private)
		return;
	if (transfer->body.data)
		explicit_bzero(transfer->body.data, transfer->body.cap);
	if (transfer->answer.data)
		explicit_bzero(transfer->answer.data, transfer->answer.cap);
	wh_buffer_free(&transfer->answer);
	transfer->private = false;
}

static void
forget_proxy(Slot *slot)
{
	for (struct curl_slist *line = slot->proxy_headers; line; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(slot->proxy_headers);
	slot->proxy_headers = NULL;
	free(slot->proxy);
	slot->proxy = NULL;
}

static void
free_slot(Slot *slot)
{
	if (slot->easy)
		curl_easy_cleanup(slot->easy);
	curl_slist_free_all(slot->headers);
	forget_proxy(slot);
	forget(&slot->transfer);
	wh_buffer_free(&slot->transfer.body);
	wh_buffer_free(&slot->keep);
	wh_buffer_free(&slot->transfer.headers);
	free(slot->transfer.response);
	free(slot);
}

void
wh_http_free(WhHttp *http)
{
	WhTransfer *t;

	if (http == NULL)
		return;
	wh_http_enter(http);
	while ((t = wh_http_abort_one(http)) != NULL || (t = wh_http_finished(http)) != NULL)
		wh_http_release(http, t);
	for (Slot *slot = http->free_list; slot; slot = http->free_list)
	{
		http->free_list = slot->next;
		free_slot(slot);
	}
	curl_easy_cleanup(http->nobody);
	if (http->multi)
		curl_multi_cleanup(http->multi);
	wh_http_leave(http);
	if (http->epoll_fd >= 0)
		close(http->epoll_fd);
	free(http->ca_file);
	free(http);
}

bool
wh_http_configure(WhHttp *http, const char *ca_file)
{
	char *copy = ca_file && ca_file[0] ? strdup(ca_file) : NULL;

	if (ca_file && ca_file[0] && copy == NULL)
		return false;
	if ((copy == NULL) == (http->ca_file == NULL) && (copy == NULL || strcmp(copy, http->ca_file) == 0))
	{
		free(copy);
		return true;
	}
	free(http->ca_file);
	http->ca_file = copy;
	http->settings++;
	return true;
}

void
wh_http_limit(WhHttp *http, int connections)
{
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long) connections);
	curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) connections);
#if LIBCURL_VERSION_NUM >= 0x081400
	/*
	 * Before 8.20 each look-up has a thread of its own. Since then a pool serves them all, of 20 unless said otherwise:
	 * names that hang would hold up others. A look-up is two, one for each family.
	 */
	curl_multi_setopt(http->multi, CURLMOPT_RESOLVE_THREADS_MAX, 2 * (long) connections);
#endif
}

void
wh_http_body_max(WhHttp *http, size_t bytes)
{
	http->body_max = bytes < WH_BODY_MAX ? bytes : WH_BODY_MAX;
}

/*
 * One request
 */

static Slot *
new_slot(WhHttp *http)
{
	Slot *slot = calloc(1, sizeof(Slot));

	if (slot == NULL)
		return NULL;
	slot->http = http;
	wh_buffer_init(&slot->transfer.body, WH_BODY_MAX);
	slot->transfer.body.lends = true;
	wh_buffer_init(&slot->transfer.answer, WH_PRIVATE_MAX);
	wh_buffer_init(&slot->keep, WH_RESPONSE_KEPT);
	wh_buffer_init(&slot->transfer.headers, WH_HEADERS_KEPT);
	return slot;
}

WhTransfer *
wh_http_acquire(WhHttp *http)
{
	Slot *slot = http->free_list;

	if (slot)
	{
		http->free_list = slot->next;
		http->n_free--;
	}
	else if ((slot = new_slot(http)) == NULL)
		return NULL;
	http->in_use++;
	slot->address_refused = slot->too_large = slot->headers_ended = slot->header_hidden = false;
	slot->received = slot->header_received = 0;
	slot->message[0] = '\0';
	wh_buffer_reset(&slot->keep);
	wh_buffer_reset(&slot->transfer.headers);
	wh_buffer_reset(&slot->transfer.body);
	slot->transfer.body.limit = http->body_max;
	slot->transfer.owner = NULL;
	slot->transfer.http_status = 0;
	slot->transfer.retry_after[0] = '\0';
	slot->transfer.duration_us = 0;
	slot->transfer.error[0] = '\0';
	return &slot->transfer;
}

void
wh_http_release(WhHttp *http, WhTransfer *transfer)
{
	Slot *slot = (Slot *) transfer;

	wh_http_easy_done(slot);
	curl_slist_free_all(slot->headers);
	slot->headers = NULL;
	forget_proxy(slot);
	free(transfer->response);
	transfer->response = NULL;
	forget(transfer);
	http->in_use--;
	if (http->n_free >= FREE_MAX)
	{
		free_slot(slot);
		return;
	}
	wh_buffer_reset(&transfer->body);
	if (transfer->body.cap > BODY_KEPT_MAX)
		wh_buffer_free(&transfer->body);
	slot->next = http->free_list;
	http->free_list = slot;
	http->n_free++;
}

bool
wh_http_header(WhTransfer *transfer, const char *line)
{
	Slot *slot = (Slot *) transfer;
	struct curl_slist *longer = curl_slist_append(slot->headers, line);

	if (longer == NULL)
		return false;
	slot->headers = longer;
	return true;
}

bool
wh_http_proxy(WhTransfer *transfer, const char *address, const char *authorization)
{
	Slot *slot = (Slot *) transfer;

	slot->proxy = strdup(address);
	if (*authorization)
		slot->proxy_headers = curl_slist_append(NULL, authorization);
	return slot->proxy && (slot->proxy_headers || *authorization == '\0');
}

static bool
cannot_start(WhTransfer *transfer, const char *why)
{
	transfer->kind = WH_OUT_INTERNAL;
	snprintf(transfer->error, sizeof(transfer->error), "%s", why);
	return false;
}

bool
wh_http_start(WhHttp *http, WhTransfer *transfer, const char *url, int64_t timeout_us,
			  const WhHttpAccess *access)
{
	Slot *slot = (Slot *) transfer;
	CURLMcode rc;

	if (!wh_http_easy(slot, url, timeout_us, access))
		return cannot_start(transfer, "libcurl is out of memory, or refused the request");
	wh_http_enter(http);
	rc = curl_multi_add_handle(http->multi, slot->easy);
	wh_http_leave(http);
	if (rc != CURLM_OK)
		return cannot_start(transfer, curl_multi_strerror(rc));
	slot->under_way = true;
	wh_http_set_in_turns(slot, true); /* until it has a connection */
	slot->before = NULL;
	slot->next = http->under_way;
	if (slot->next)
		slot->next->before = slot;
	http->under_way = slot;
	return true;
}

void
wh_http_set_in_turns(Slot *slot, bool in_turns)
{
	if (slot->under_way && slot->in_turns != in_turns)
	{
		slot->in_turns = in_turns;
		slot->http->in_turns += in_turns ? 1 : -1;
	}
}

static void
no_longer_under_way(WhHttp *http, Slot *slot)
{
	curl_multi_remove_handle(http->multi, slot->easy);
	wh_http_set_in_turns(slot, false);
	slot->under_way = false;
	*(slot->before ? &slot->before->next : &http->under_way) = slot->next;
	if (slot->next)
		slot->next->before = slot->before;
	slot->next = slot->before = NULL;
}

/* libcurl has finished the request: how did it end? */
static void
finish(WhHttp *http, Slot *slot, CURLcode rc)
{
	wh_http_outcome(slot, rc);
	slot->ended_well = rc == CURLE_OK && slot->headers_ended && slot->tries == 1;
	no_longer_under_way(http, slot);
	if (http->finished_tail)
		http->finished_tail->next = slot;
	else
		http->finished_head = slot;
	http->finished_tail = slot;
}

/*
 * Moving on
 */

/* The deadline, from libcurl's last request. A clock that was set back does not delay it. */
static void
look_at_timer(WhHttp *http, int64_t now_us)
{
	if (http->timer_ms < 0)
		http->deadline_us = INT64_MAX;
	else if (http->timer_changed ||
			 (http->deadline_us != INT64_MAX && http->deadline_us > now_us + http->timer_ms * 1000))
		http->deadline_us = now_us + http->timer_ms * 1000;
	http->timer_changed = false;
}

/*
 * Make requests that wait for a connection (PIPEWAIT) look again. libcurl 8.14 tells them
 * of a new connection only if that is HTTP/2. Of any other, they would learn only when a
 * request ends: never, if the endpoint hangs. But libcurl lets all of them look whenever
 * any handle is removed.
 */
static void
wake_waiting(WhHttp *http)
{
	if (http->connected && curl_multi_add_handle(http->multi, http->nobody) == CURLM_OK)
		curl_multi_remove_handle(http->multi, http->nobody);
	http->connected = false;
}

void
wh_http_run(WhHttp *http, int64_t now_us)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	CURLMsg *msg;
	int running;
	int left;
	int n;

	wh_http_enter(http);
	look_at_timer(http, now_us);
	if (http->deadline_us <= now_us)
	{
		http->deadline_us = INT64_MAX;
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	n = epoll_wait(http->epoll_fd, events, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < n; i++)
	{
		uint32_t ready = events[i].events;
		int what = 0;

		if (ready & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (ready & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (ready & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(http->multi, events[i].data.fd, what, &running);
	}
	while ((msg = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		Slot *slot = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **) &slot);
		finish(http, slot, msg->data.result);
	}
	wake_waiting(http);
	look_at_timer(http, now_us);
	wh_http_leave(http);
}

WhTransfer *
wh_http_finished(WhHttp *http)
{
	Slot *slot = http->finished_head;

	if (slot == NULL)
		return NULL;
	http->finished_head = slot->next;
	if (http->finished_head == NULL)
		http->finished_tail = NULL;
	return &slot->transfer;
}

WhTransfer *
wh_http_abort_one(WhHttp *http)
{
	Slot *slot = http->under_way;

	if (slot == NULL)
		return NULL;
	wh_http_enter(http);
	no_longer_under_way(http, slot);
	wh_http_leave(http);
	return &slot->transfer;
}

int
wh_http_fd(const WhHttp *http)
{
	return http->epoll_fd;
}

int64_t
wh_http_deadline(const WhHttp *http)
{
	/* wh_http_start has just set a timer: the next run, due at once, looks at it */
	return http->timer_changed ? 0 : http->deadline_us;
}

int
wh_http_in_use(const WhHttp *http)
{
	return http->in_use;
}

int
wh_http_in_turns(const WhHttp *http)
{
	return http->in_turns;
}
