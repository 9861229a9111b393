/*
 * floor_send.c
 *	  The floor of delivery: what libcurl can send with nothing around it.
 *
 * Signs and POSTs bodies that it reads from a file, again and again in turn,
 * with so many requests in flight over kept-alive connections, the way the
 * worker's requests look, but with no database, no order, no limits and no log.
 * Prints requests per second and microseconds of CPU per request. One thread;
 * handles are reused, or, with "fresh", made for each request, as the worker
 * does with libcurl before 8.1.1: see docs/internals/decisions.md.
 *
 *	  floor_send URL REQUESTS IN_FLIGHT CA_FILE BODIES [fresh]
 */
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define MAX_BODIES 1000
#define MAX_IN_FLIGHT 1000
#define HEAD_MAX 128 /* of what is signed before the body */

/* The text has room before it for what is signed with it, so that it is never copied. */
typedef struct Body
{
	char *text;
	size_t len;
} Body;

static Body bodies[MAX_BODIES];
static int nbodies = 0;
static long failed = 0;
static const char *url;
static const char *ca_file;
static int fresh = 0;

/* The headers must live as long as the request. */
typedef struct Request
{
	CURL *easy;
	struct curl_slist *headers;
} Request;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void
read_bodies(const char *file)
{
	FILE *in = fopen(file, "r");
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while (in && nbodies < MAX_BODIES && (len = getline(&line, &size, in)) > 1)
	{
		Body *body = &bodies[nbodies++];
		char *room = malloc(HEAD_MAX + len);

		if (room == NULL)
			exit(1);
		body->text = room + HEAD_MAX;
		body->len = len - 1;
		memcpy(body->text, line, body->len);
	}
	free(line);
	if (nbodies == 0)
	{
		fprintf(stderr, "no bodies in %s\n", file);
		exit(1);
	}
	fclose(in);
}

static size_t
ignore(char *bytes, size_t size, size_t n, void *arg)
{
	(void) bytes;
	(void) arg;
	return size * n;
}

/* As Standard Webhooks has it. */
static void
sign(char *header, size_t size, const char *id, long at, const Body *body)
{
	static const unsigned char key[32] = "a key of thirty-two bytes, thus";
	char head[HEAD_MAX];
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned char text[2 * EVP_MAX_MD_SIZE];
	unsigned int mac_len;
	size_t len = (size_t) snprintf(head, sizeof(head), "%s.%ld.", id, at);
	char *content = body->text - len;

	memcpy(content, head, len);
	HMAC(EVP_sha256(), key, sizeof(key), (unsigned char *) content, len + body->len, mac, &mac_len);
	EVP_EncodeBlock(text, mac, mac_len);
	snprintf(header, size, "webhook-signature: v1,%s", text);
}

static void
set_up(Request *r)
{
	curl_easy_cleanup(r->easy);
	r->easy = curl_easy_init();
	curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
	curl_easy_setopt(r->easy, CURLOPT_URL, url);
	curl_easy_setopt(r->easy, CURLOPT_CAINFO, ca_file);
	curl_easy_setopt(r->easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(r->easy, CURLOPT_POST, 1L);
}

static void
start(CURLM *multi, Request *r, long n)
{
	const Body *body = &bodies[n % nbodies];
	long at = time(NULL);
	char id[64];
	char header[256];

	snprintf(id, sizeof(id), "evt_00000000_%ld", n);
	if (r->easy == NULL || fresh)
		set_up(r);
	curl_slist_free_all(r->headers);
	r->headers = curl_slist_append(NULL, "content-type: application/json");
	snprintf(header, sizeof(header), "webhook-id: %s", id);
	curl_slist_append(r->headers, header);
	snprintf(header, sizeof(header), "webhook-timestamp: %ld", at);
	curl_slist_append(r->headers, header);
	sign(header, sizeof(header), id, at, body);
	curl_slist_append(r->headers, header);
	curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
	curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, body->text);
	curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE, (long) body->len);
	curl_multi_add_handle(multi, r->easy);
}

/* The next requests take the handles of those that have ended. Returns how many have. */
static int
take_finished(CURLM *multi, long *started, long total)
{
	CURLMsg *message;
	int ended = 0;
	int left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		Request *r;
		long status = 0;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &r);
		curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result != CURLE_OK || status / 100 != 2)
			failed++;
		curl_multi_remove_handle(multi, r->easy);
		ended++;
		if (*started < total)
			start(multi, r, (*started)++);
	}
	return ended;
}

int
main(int argc, char **argv)
{
	static Request requests[MAX_IN_FLIGHT];
	long total, started = 0, ended = 0;
	int in_flight, running;
	double began, seconds;
	struct rusage usage;
	CURLM *multi;

	if (argc < 6 || (total = atol(argv[2])) <= 0 || (in_flight = atoi(argv[3])) <= 0 ||
		in_flight > MAX_IN_FLIGHT)
	{
		fprintf(stderr, "usage: floor_send URL REQUESTS IN_FLIGHT CA_FILE BODIES [fresh]\n");
		return 2;
	}
	url = argv[1];
	ca_file = argv[4];
	read_bodies(argv[5]);
	fresh = argc > 6;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) in_flight);
	began = now();
	for (int i = 0; i < in_flight && started < total; i++)
		start(multi, &requests[i], started++);
	while (ended < total)
	{
		curl_multi_perform(multi, &running);
		ended += take_finished(multi, &started, total);
		if (ended < total)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	seconds = now() - began;
	getrusage(RUSAGE_SELF, &usage);
	printf("%.0f %.2f\n", total / seconds,
		   (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
			(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6) *
			   1e6 / total);
	if (failed > 0)
		fprintf(stderr, "%ld requests failed\n", failed);
	return failed > 0;
}
