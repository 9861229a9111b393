/*
 * tls_server.c
 *	  The server of tls_server.h: one thread, one connection after the other,
 *	  blocking. Whatever goes wrong with a connection is the client's affair.
 *	  Where it hangs, connections stay open, unanswered, until it is stopped.
 */
#include "tls_server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define HOUR 3600

static pthread_t thread;
static int listener;
static SSL_CTX *ctx;
static atomic_bool hanging;
static atomic_int requests;
static SSL *held[TLS_SERVER_HOLDS];
static int n_held;
static EVP_PKEY *authority_key;
static X509 *authority;
static char authority_file[] = "/tmp/webhook_unit_ca_XXXXXX";

static void
need(int ok)
{
	if (!ok)
		abort();
}

static void
extend(X509 *cert, int what, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, what, value);

	need(extension != NULL);
	need(X509_add_ext(cert, extension, -1));
	X509_EXTENSION_free(extension);
}

/* A certificate of `name`; self-signed where there is no issuer. */
static X509 *
make_cert(const char *name, const char *host, long from, long to, EVP_PKEY *key, X509 *issuer,
		  EVP_PKEY *issuer_key)
{
	static long serial = 1;
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	need(X509_set_version(cert, 2) && ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++));
	need(X509_gmtime_adj(X509_getm_notBefore(cert), from) != NULL);
	need(X509_gmtime_adj(X509_getm_notAfter(cert), to) != NULL);
	need(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1, 0));
	need(X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject));
	need(X509_set_pubkey(cert, key));
	extend(cert, NID_basic_constraints, host ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (host)
		extend(cert, NID_subject_alt_name, host);
	need(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()));
	return cert;
}

static void
remove_authority(void)
{
	unlink(authority_file);
	X509_free(authority);
	EVP_PKEY_free(authority_key);
}

static void
have_authority(void)
{
	FILE *file;

	if (authority)
		return;
	authority_key = EVP_EC_gen("P-256");
	authority = make_cert("unit authority", NULL, -HOUR, HOUR, authority_key, NULL, NULL);
	need((file = fdopen(mkstemp(authority_file), "w")) != NULL);
	need(PEM_write_X509(file, authority));
	fclose(file);
	atexit(remove_authority);
}

const char *
tls_authority(void)
{
	have_authority();
	return authority_file;
}

static X509 *
certificate_of(Certificate which, EVP_PKEY *key)
{
	static const char right[] = "IP:127.0.0.1";
	X509 *issuer;
	X509 *cert;
	EVP_PKEY *issuer_key;

	switch (which)
	{
		case CERT_GOOD:
			break;
		case CERT_OTHER_HOST:
			return make_cert("unit", "DNS:other.example", -HOUR, HOUR, key, authority, authority_key);
		case CERT_EXPIRED:
			return make_cert("unit", right, -2 * HOUR, -HOUR, key, authority, authority_key);
		case CERT_TOO_EARLY:
			return make_cert("unit", right, HOUR, 2 * HOUR, key, authority, authority_key);
		case CERT_SELF_SIGNED:
			return make_cert("unit", right, -HOUR, HOUR, key, NULL, NULL);
		case CERT_OTHER_CA:
			issuer_key = EVP_EC_gen("P-256");
			issuer = make_cert("other authority", NULL, -HOUR, HOUR, issuer_key, NULL, NULL);
			cert = make_cert("unit", right, -HOUR, HOUR, key, issuer, issuer_key);
			X509_free(issuer);
			EVP_PKEY_free(issuer_key);
			return cert;
		case CERT_FORGED:
			issuer_key = EVP_EC_gen("P-256");
			cert = make_cert("unit", right, -HOUR, HOUR, key, authority, issuer_key);
			EVP_PKEY_free(issuer_key);
			return cert;
		case CERT_OF_CLIENT:
			cert = make_cert("unit", right, -HOUR, HOUR, key, authority, authority_key);
			extend(cert, NID_ext_key_usage, "clientAuth");
			need(X509_sign(cert, authority_key, EVP_sha256()));
			return cert;
	}
	return make_cert("unit", right, -HOUR, HOUR, key, authority, authority_key);
}

static void *
serve(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
	int fd;

	(void) arg;
	while ((fd = accept(listener, NULL, NULL)) >= 0)
	{
		SSL *ssl = SSL_new(ctx);
		char request[8192];
		bool read;

		/* the request fits into one record, and is not looked at */
		read = SSL_set_fd(ssl, fd) && SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof(request)) > 0;
		if (read && hanging && n_held < TLS_SERVER_HOLDS)
		{
			held[n_held++] = ssl;
			requests++;
			continue;
		}
		requests += read;
		if (read && SSL_write(ssl, answer, sizeof(answer) - 1) > 0)
			SSL_shutdown(ssl);
		SSL_free(ssl);
		close(fd);
	}
	return NULL;
}

int
tls_server_start(Certificate certificate)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert;

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	have_authority();
	hanging = false;
	requests = 0;
	cert = certificate_of(certificate, key);
	need((ctx = SSL_CTX_new(TLS_server_method())) != NULL);
	need(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
	X509_free(cert);
	EVP_PKEY_free(key);

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(bind(listener, (struct sockaddr *) &address, len) == 0 && listen(listener, 10) == 0 &&
		 getsockname(listener, (struct sockaddr *) &address, &len) == 0 &&
		 pthread_create(&thread, NULL, serve, NULL) == 0);
	return ntohs(address.sin_port);
}

void
tls_server_stop(void)
{
	shutdown(listener, SHUT_RDWR); /* wakes up accept */
	pthread_join(thread, NULL);
	close(listener);
	while (n_held > 0)
	{
		close(SSL_get_fd(held[--n_held]));
		SSL_free(held[n_held]);
	}
	SSL_CTX_free(ctx);
}

void
tls_server_hang(void)
{
	hanging = true;
}

int
tls_server_requests(void)
{
	return requests;
}
