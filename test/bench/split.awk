# Sums perf script's stacks (-F ip,sym,dso; innermost first, a blank line between
# them) up by what the worker was doing. Prints one sentence.
function count() {
	if (depth == 0) return
	total++
	share[what == "" ? "the loop and the rest" : what]++
	what = ""; depth = 0
}
NF == 0 { count(); next }
{
	depth++
	if (what != "") next
	if (/wh_sign|wh_hmac/) what = "signing"
	else if (/wh_envelope/) what = "envelope"
	else if (/wh_store_settle|wh_settle|settle_|wh_worker_settle/) what = "settling"
	else if (/wh_store_read|wh_read|read_page|wh_route/) what = "reading"
	else if (/libcurl|libssl|wh_http/) what = "curl and TLS"
	else if (/wh_queue/) what = "queue"
	else if (/wh_engine/) what = "engine"
}
END {
	count()
	printf "Split of the worker's CPU (HTTPS, HTTP/1.1; %d samples):", total
	n = split("reading,envelope,signing,curl and TLS,queue,deliver,settling,the loop and the rest", order, ",")
	for (i = 1; i <= n; i++)
		printf "%s %s %.0f %%", (i > 1 ? "," : ""), order[i], 100 * share[order[i]] / (total ? total : 1)
	print "."
}
