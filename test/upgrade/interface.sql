-- What people write against, as one JSON object, for breaks() of WebhookUpgrade.pm: the functions of
-- schema webhook, the columns of its tables and views in their order, and which triggers are enabled.
SELECT jsonb_build_object(
	'functions', (SELECT jsonb_agg(jsonb_build_object('name', p.proname,
			'arguments', (SELECT coalesce(jsonb_agg(coalesce(p.proargnames[n], '') || ' ' || format_type(p.proargtypes[n - 1], NULL) ORDER BY n), '[]')
				FROM generate_series(1, p.pronargs) n),
			'required', p.pronargs - p.pronargdefaults,
			'result', p.prokind::text || coalesce(pg_get_function_result(p.oid), '')) ORDER BY p.oid::regprocedure::text)
		FROM pg_proc p WHERE p.pronamespace = 'webhook'::regnamespace),
	'columns', (SELECT jsonb_object_agg(r.oid::regclass, (SELECT jsonb_agg(a.attname || ':' || replace(format_type(a.atttypid, a.atttypmod), ' ', '_') ORDER BY a.attnum)
			FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped))
		FROM pg_class r WHERE r.relnamespace = 'webhook'::regnamespace AND r.relkind IN ('r', 'p', 'v') AND NOT r.relispartition),
	'triggers', (SELECT jsonb_object_agg(t.tgname || ' on ' || t.tgrelid::regclass, t.tgenabled)
		FROM pg_trigger t JOIN pg_class r ON r.oid = t.tgrelid
		WHERE r.relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND NOT t.tgisinternal));
