/*
 * floor_listen.c
 *	  The floor of latency: the least that can stand between COMMIT and an endpoint.
 *
 * LISTENs on a channel to which a trigger sends each row with pg_notify(), and
 * POSTs each payload through one kept-alive libcurl handle, one at a time, not
 * signed, not logged, lost if anything fails. Ends when its standard input
 * does.
 *
 *	  floor_listen CONNECTION CHANNEL URL CA_FILE
 */
#include <curl/curl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static size_t
ignore(char *bytes, size_t size, size_t n, void *arg)
{
	(void) bytes;
	(void) arg;
	return size * n;
}

static CURL *
set_up(const char *url, const char *ca_file)
{
	CURL *easy = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "content-type: application/json");

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	return easy;
}

/* Send what has been notified. Returns false if a request failed. */
static int
send_notified(PGconn *conn, CURL *easy)
{
	PGnotify *notify;

	while ((notify = PQnotifies(conn)) != NULL)
	{
		CURLcode rc;

		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, notify->extra);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) strlen(notify->extra));
		rc = curl_easy_perform(easy);
		PQfreemem(notify);
		if (rc != CURLE_OK)
		{
			fprintf(stderr, "floor_listen: %s\n", curl_easy_strerror(rc));
			return 0;
		}
	}
	return 1;
}

int
main(int argc, char **argv)
{
	PGconn *conn;
	CURL *easy;
	char command[128];
	PGresult *result;

	if (argc != 5)
	{
		fprintf(stderr, "usage: floor_listen CONNECTION CHANNEL URL CA_FILE\n");
		return 2;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	easy = set_up(argv[3], argv[4]);
	conn = PQconnectdb(argv[1]);
	snprintf(command, sizeof(command), "LISTEN %s", argv[2]);
	result = PQexec(conn, command);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
	{
		fprintf(stderr, "floor_listen: %s", PQerrorMessage(conn));
		return 1;
	}
	PQclear(result);
	puts("listening");
	fflush(stdout);
	for (;;)
	{
		struct pollfd fds[2] = {{.fd = PQsocket(conn), .events = POLLIN}, {.fd = 0, .events = POLLIN}};

		if (poll(fds, 2, -1) < 0 || fds[1].revents || !PQconsumeInput(conn))
			break;
		if (!send_notified(conn, easy))
			return 1;
	}
	PQfinish(conn);
	curl_easy_cleanup(easy);
	return 0;
}
