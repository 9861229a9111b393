/*
 * main.c
 *	  pgwebhook serve: the console, the HTTP API and what machines ask.
 *
 * Reads the options, opens the socket, gives up what the program must not be able to do,
 * and runs the loop until SIGTERM or SIGINT. It needs no right of the operating system's
 * but that of the socket, and refuses to be root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "httpd.h"
#include "loop.h"
#include "problem.h"
#include "routes.h"
#include "service.h"
#include "session.h"
#include "text.h"
#include "version.h"

#define HOSTS_MAX 64
#define FILE_MAX 65536

static const char help[] =
	"pgwebhook serve: pages and an HTTP API for the webhooks of a PostgreSQL server.\n"
	"\n"
	"  pgwebhook serve --database=NAME [OPTION...]\n"
	"\n"
	"Where it listens\n"
	"  --listen=ADDRESS:PORT     default 127.0.0.1:8430. Any address but a loopback one also needs\n"
	"                            --tls-cert or --behind-proxy\n"
	"  --host=NAME               a further name that the Host header may have, with its port unless that is\n"
	"                            the scheme's own; repeat it for several\n"
	"  --tls-cert=FILE, --tls-key=FILE   speak https with these, PEM\n"
	"  --behind-proxy            a proxy speaks https for it, sets Host and X-Forwarded-For\n"
	"\n"
	"The database\n"
	"  --database=NAME           what people may log in to; repeat it for several, the first is the default\n"
	"  --db-host=HOST            default localhost; a directory: its Unix socket\n"
	"  --db-port=PORT            default 5432\n"
	"  --db-sslmode=MODE         as libpq has it; default prefer\n"
	"  --db-sslrootcert=FILE     whom verify-ca and verify-full trust\n"
	"  --allow-superuser         superusers may log in\n"
	"  --service-role=ROLE       who looks after tokens, /readyz and /metrics: see webhook.grant_service()\n"
	"  --service-password-file=FILE   its password, in the first line\n"
	"\n"
	"Besides\n"
	"  --assets=DIRECTORY        read the pages' files from here, for whoever changes them\n"
	"  --help, --version\n"
	"  pgwebhook routes          the table of routes, a JSON object a line\n"
	"\n"
	"People log in with a PostgreSQL role and its password, which pg_hba.conf must require of\n"
	"connections from here. The manual is docs/console.md.\n";

static struct
{
	char address[64]; /* of --listen */
	char port[8];
	const char *tls_cert;
	const char *tls_key;
	const char *service_password_file;
	const char *assets;
	const char *hosts[HOSTS_MAX + 1];
	int n_hosts;
	int n_databases;
	bool behind_proxy;
	Settings settings;
} given = {.address = "127.0.0.1",
		   .port = "8430",
		   .settings.server = {.host = "localhost", .port = "5432", .sslmode = "prefer"}};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *why, ...)
{
	va_list args;

	va_start(args, why);
	fputs("pgwebhook: ", stderr);
	vfprintf(stderr, why, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

/*
 * Options
 */

static void
read_listen(const char *text)
{
	const char *colon = strrchr(text, ':');
	bool bracketed = *text == '[';
	size_t len = colon ? (size_t) (colon - text) : 0;

	if (colon == NULL || len <= 2 || len - 2 * bracketed >= sizeof(given.address) || strlen(colon + 1) > 5 ||
		(bracketed && colon[-1] != ']') || strspn(colon + 1, "0123456789") != strlen(colon + 1) || !colon[1])
		die("--listen is ADDRESS:PORT, such as 127.0.0.1:8430 or [::1]:8430");
	snprintf(given.address, sizeof(given.address), "%.*s", (int) (len - 2 * (size_t) bracketed),
			 text + bracketed);
	snprintf(given.port, sizeof(given.port), "%s", colon + 1);
}

static void
add_host(const char *name)
{
	if (given.n_hosts == HOSTS_MAX)
		die("at most %d names of hosts", HOSTS_MAX);
	given.hosts[given.n_hosts++] = name;
}

static void
read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"listen", required_argument, NULL, 'l'},
		{"host", required_argument, NULL, 'h'},
		{"tls-cert", required_argument, NULL, 'c'},
		{"tls-key", required_argument, NULL, 'k'},
		{"behind-proxy", no_argument, NULL, 'b'},
		{"database", required_argument, NULL, 'd'},
		{"db-host", required_argument, NULL, 'H'},
		{"db-port", required_argument, NULL, 'P'},
		{"db-sslmode", required_argument, NULL, 'm'},
		{"db-sslrootcert", required_argument, NULL, 'r'},
		{"allow-superuser", no_argument, NULL, 's'},
		{"service-role", required_argument, NULL, 'R'},
		{"service-password-file", required_argument, NULL, 'W'},
		{"assets", required_argument, NULL, 'a'},
		{NULL, 0, NULL, 0},
	};
	Settings *s = &given.settings;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c)
		{
			case 'l':
				read_listen(optarg);
				break;
			case 'h':
				add_host(optarg);
				break;
			case 'c':
				given.tls_cert = optarg;
				break;
			case 'k':
				given.tls_key = optarg;
				break;
			case 'b':
				given.behind_proxy = true;
				break;
			case 'd':
				if (given.n_databases == DATABASES_MAX)
					die("at most %d databases", DATABASES_MAX);
				s->databases[given.n_databases++] = optarg;
				break;
			case 'H':
				s->server.host = optarg;
				break;
			case 'P':
				s->server.port = optarg;
				break;
			case 'm':
				s->server.sslmode = optarg;
				break;
			case 'r':
				s->server.sslrootcert = optarg;
				break;
			case 's':
				s->allow_superuser = true;
				break;
			case 'R':
				s->service_role = optarg;
				break;
			case 'W':
				given.service_password_file = optarg;
				break;
			case 'a':
				given.assets = optarg;
				break;
			default:
				die("pgwebhook --help lists the options");
		}
	if (optind < argc)
		die("unexpected argument \"%s\"; pgwebhook --help lists the options", argv[optind]);
	if (given.n_databases == 0)
		die("name at least one database: --database=NAME");
	if (!given.tls_cert != !given.tls_key)
		die("--tls-cert and --tls-key belong together");
	if (given.tls_cert && given.behind_proxy)
		die("either --tls-cert or --behind-proxy");
	if (!s->service_role != !given.service_password_file)
		die("--service-role and --service-password-file belong together");
}

/* A whole file, with a NUL behind it. */
static char *
read_file(const char *path, bool secret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *bytes = malloc(FILE_MAX + 1);
	ssize_t n;

	if (fd < 0 || bytes == NULL || fstat(fd, &st) != 0)
		die("cannot read \"%s\": %s", path, strerror(errno));
	if (secret && (st.st_mode & (S_IRWXO | S_IWGRP)) != 0)
		die("\"%s\" holds a secret and can be read by others: chmod it to 640 or less", path);
	n = read(fd, bytes, FILE_MAX);
	if (n < 0 || n == FILE_MAX)
		die("cannot read \"%s\": %s", path, n < 0 ? strerror(errno) : "it is too large");
	bytes[n] = '\0';
	(void) close(fd);
	return bytes;
}

/*
 * The socket
 */

static bool
is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *) (const void *) address)->sin_addr.s_addr) >> 24 == 127;
	return address->sa_family == AF_INET6 &&
		   IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) (const void *) address)->sin6_addr);
}

static int
open_socket(void)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
							 .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int one = 1;
	int fd;

	if (getaddrinfo(given.address, given.port, &hints, &found) != 0)
		die("--listen needs a numeric address, not \"%s\"", given.address);
	if (!is_loopback(found->ai_addr) && !given.tls_cert && !given.behind_proxy)
		die("%s can be reached by others: --tls-cert or --behind-proxy is required, for passwords are sent",
			given.address);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 128) != 0)
		die("cannot listen on %s port %s: %s", given.address, given.port, strerror(errno));
	freeaddrinfo(found);
	return fd;
}

/* Names that the Host header may have: those given, and the address itself. */
static void
finish_hosts(int fd)
{
	static char names[3][96];
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char port[8] = "";
	bool six = strchr(given.address, ':') != NULL;

	if (getsockname(fd, (struct sockaddr *) &bound, &len) != 0 ||
		getnameinfo((struct sockaddr *) &bound, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV) != 0)
		die("cannot find the port: %s", strerror(errno));
	snprintf(given.port, sizeof(given.port), "%s", port);
	snprintf(names[0], sizeof(names[0]), six ? "[%s]:%s" : "%s:%s", given.address, given.port);
	add_host(names[0]);
	if (is_loopback((struct sockaddr *) &bound))
	{
		snprintf(names[1], sizeof(names[1]), "localhost:%s", given.port);
		add_host(names[1]);
	}
}

static void
stop(int signal_number)
{
	(void) signal_number;
	loop_stop();
}

static void
tick(void)
{
	session_tick();
	service_tick();
	db_tick();
	http_tick();
}

/* Memory holds passwords for moments and tokens for hours: no core, no tracer, no further rights. */
static void
give_up_rights(void)
{
	struct rlimit none = {0, 0};

	if (geteuid() == 0)
		die("it must not be run by root: it needs no rights");
	(void) setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* which looks for leaks as a tracer does */
	(void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	(void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* libpq would take what is not given from here: another host, user, password or file. */
static void
forget_environment(void)
{
	static const char *const names[] = {"PGHOST",
										"PGHOSTADDR",
										"PGPORT",
										"PGDATABASE",
										"PGUSER",
										"PGPASSWORD",
										"PGPASSFILE",
										"PGSERVICE",
										"PGSERVICEFILE",
										"PGOPTIONS",
										"PGAPPNAME",
										"PGSSLMODE",
										"PGSSLCERT",
										"PGSSLKEY",
										"PGSSLROOTCERT",
										"PGSSLCRL",
										"PGREQUIREAUTH",
										"PGREQUIREPEER",
										"PGKRBSRVNAME",
										"PGGSSENCMODE",
										"PGSYSCONFDIR",
										"PGCLIENTENCODING",
										"PGTARGETSESSIONATTRS",
										"PGCHANNELBINDING"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void) unsetenv(names[i]);
	(void) setenv("HOME", "/nonexistent", 1); /* nor from files there */
}

/* The table of routes, a JSON object a line: what the tests are made of. */
static int
print_routes(void)
{
	static const char *const classes[] = {"read", "ask", "write", "call", "own"};

	for (size_t i = 0; i < n_routes; i++)
	{
		WhBuffer out;

		wh_buffer_init(&out, 65536);
		wh_buffer_puts(&out, "{");
		text_json_pair(&out, "method", routes[i].method);
		text_json_pair(&out, "path", routes[i].path);
		text_json_pair(&out, "class", classes[routes[i].class]);
		text_json_pair(&out, "query", routes[i].query);
		text_json_pair(&out, "fields", routes[i].fields);
		text_json_pair(&out, "what", routes[i].what);
		text_json_pair(&out, "sql", routes[i].sql);
		text_json_pair(&out, "less", routes[i].less);
		text_json_pair(&out, "then", routes[i].then);
		text_json_pair(&out, "version", routes[i].version ? "yes" : NULL);
		text_json_pair(&out, "open", routes[i].open ? "yes" : NULL);
		wh_buffer_puts(&out, "}");
		if (out.failed || puts(out.data) < 0)
			return 1;
		wh_buffer_free(&out);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = stop};
	HttpOptions http = {0};
	char *password = NULL;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "help") == 0)
			return fputs(help, stdout) < 0;
		else if (strcmp(argv[i], "--version") == 0)
			return puts("pgwebhook " PGWEBHOOK_VERSION) < 0;
	if (argc == 2 && strcmp(argv[1], "routes") == 0)
		return print_routes();
	if (argc < 2 || strcmp(argv[1], "serve") != 0)
		die("usage: pgwebhook serve --database=NAME [OPTION...]; pgwebhook --help tells more");
	read_options(argc - 1, argv + 1);
	give_up_rights();
	forget_environment();
	if (given.service_password_file)
	{
		password = read_file(given.service_password_file, true);
		password[strcspn(password, "\r\n")] = '\0';
		given.settings.service_password = password;
	}
	http.tls = given.tls_cert != NULL;
	http.tls_cert = http.tls ? read_file(given.tls_cert, false) : NULL;
	http.tls_key = http.tls ? read_file(given.tls_key, true) : NULL;
	http.behind_proxy = given.behind_proxy;
	http.listen_fd = open_socket();
	finish_hosts(http.listen_fd);
	http.hosts = given.hosts;

	(void) sigaction(SIGTERM, &action, NULL);
	(void) sigaction(SIGINT, &action, NULL);
	action.sa_handler = SIG_IGN;
	(void) sigaction(SIGPIPE, &action, NULL);
	if (!loop_start(tick, http_before_wait))
		die("cannot wait for events: %s", strerror(errno));
	session_start(&given.settings);
	service_start(&given.settings);
	handle_start(&given.settings, given.assets);
	if (!http_start(&http, handle_request, problem_answer))
		die("cannot start the HTTP server: %s", strerror(errno));
	printf("pgwebhook: listening on %s://%s%s%s:%s\n", http.tls ? "https" : "http",
		   strchr(given.address, ':') ? "[" : "", given.address, strchr(given.address, ':') ? "]" : "",
		   given.port);
	(void) fflush(stdout);
	loop_run();
	service_stop();
	session_stop();
	http_stop();
	if (password)
		explicit_bzero(password, strlen(password));
	free(password);
	return 0;
}
