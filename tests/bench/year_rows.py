"""A year of data by SQL, in the tables of a local Knative that has run a morning.

At a scale of 1: runs and answers of a month, which is how long they are kept, five million each, a
million deliveries, 200,000 dead letters, 300,000 Jobs and sagas, a million steps, ticks of a
year, 2,000 projects of 30 sprints with ten tasks each, and their notes.
"""

from __future__ import annotations

from tests.support.local_knative import LocalKnative

FUNCTIONS = {
    "runs": """INSERT INTO run (function, source, id, type, ended_at, took_ms, outcome, detail,
            event_source, event_id, failure_kind)
        SELECT name, '/year', CASE WHEN n % 2 = 0 THEN 'tick-' || n % 10 || '@2026-01-01T00:00:'
                || '00+00:00' ELSE 'y' || n END,
            CASE WHEN n % 2 = 0 THEN 'dev.knative.sources.ping' ELSE 'year.event.v1' END,
            now() - interval '29 days' * n / {runs}, 12.5,
            CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'ok' END,
            CASE WHEN n % 50 = 0 THEN 'TemporaryError: away' END, '/year', 'y' || n,
            CASE WHEN n % 50 = 0 THEN 'temporary' END
        FROM generate_series({runs}, 1, -1) AS n, LATERAL (SELECT ('{{sprint_report,cycle_trigger,'
            'scrum_simulate,scrum_report,job_launcher,dead_letter,webhook_receiver,orchestrator,'
            'realm_service,client_service}}'::text[])[1 + n % 10] AS name) AS function""",
    "answers": """INSERT INTO inbox (function, source, id, type, received_at, answer)
        SELECT function, source, id || '/' || number, type, ended_at, '{{"ok": true}}'
        FROM run WHERE source = '/year'""",
    "steps": """INSERT INTO journal (function, key, step, result, took_ms, done_at)
        SELECT 'cycle_trigger', 'y' || n, 'close-sprint', '{{}}', 1, now() - interval '29 days' * n
            / {steps} FROM generate_series({steps}, 1, -1) AS n""",
    "deliveries": """INSERT INTO delivery (source, id, type, attributes, data, size, state,
            received_at)
        SELECT 'github', 'y' || n, 'com.github.issue.opened',
            jsonb_build_object('source', 'https://api.github.com/repos/o/r' || n % 100,
                'subject', n::text), '{{}}', 2, 'published', now() - interval '29 days' * n
                / {deliveries}
        FROM generate_series({deliveries}, 1, -1) AS n""",
    "dead letters": """INSERT INTO dead_letter (seen, source, id, dest, type, attributes, data,
            size, function, code, detail, first_at, last_at, state)
        SELECT nextval('dead_letter_seen'), '/year', 'y' || n, 'http://gone', 'year.event.v1',
            one.attributes, one.data, one.size, 'gone', 500, 'gone', at, at, 'redriven'
        FROM (SELECT * FROM dead_letter LIMIT 1) AS one, generate_series({letters}, 1, -1) AS n,
            LATERAL (SELECT now() - interval '29 days' * n / {letters} AS at) AS time""",
    "Jobs": """INSERT INTO job (id, kind, task_id, service, group_name, supersede, request, state,
            queued_at, launched_at, started_at, ended_at, requested_at)
        SELECT 'y' || n, 'execute', 't' || n % 5000, 's' || n % 100, 'default', 's' || n,
            (SELECT request FROM job WHERE id NOT LIKE 'y%' LIMIT 1), 'succeeded',
            at, at, at, at, at
        FROM generate_series({jobs}, 1, -1) AS n,
            LATERAL (SELECT now() - interval '365 days' * n / {jobs} AS at) AS time""",
    "sagas": """INSERT INTO orchestration_run (flow_id, template_id, orch_name, status, since,
            payload, payload_encoding, correlation_id, started_at, completed_at)
        SELECT md5('y' || n)::uuid, template.id, template.orch_name, 'COMPLETED', at, '{{}}',
            'json', 'c' || n, at, at
        FROM (SELECT id, orch_name FROM orchestration_template ORDER BY id LIMIT 1) AS template,
            generate_series({sagas}, 1, -1) AS n,
            LATERAL (SELECT now() - interval '364 days' * n / {sagas} AS at) AS time""",
    "saga steps": """INSERT INTO orchestration_step_run (flow_id, step_name, seq, status, attempt,
            base, undo_attempt, undo_base, round, round_base, calls)
        SELECT md5('y' || n)::uuid, 's' || k, k, 'DO_SUCCESS', 1, 0, 0, 0, 1, 0,
            '[["DO", 1, "w", "SUCCESS"]]'
        FROM generate_series(1, {sagas}) AS n, generate_series(1, 2) AS k""",
    "saga history": """INSERT INTO audit_event (flow_id, type, detail, at)
        SELECT md5('y' || n)::uuid, 'STEP_SUCCESS', '', now() - interval '364 days' * n / {sagas}
        FROM generate_series({sagas}, 1, -1) AS n, generate_series(1, 10) AS k""",
    "ticks": """INSERT INTO tick (schedule, nominal, state, origin, cause, reason, due_at,
            decided_at, sent_at, ended_at, after_run)
        SELECT name, at, 'done', 'clock', '', '', at, at, at, at, 0
        FROM schedule, generate_series(1, {ticks}) AS n,
            LATERAL (SELECT date_trunc('minute', now()) - interval '1 h' - n * interval '5 min'
                AS at) AS time ON CONFLICT DO NOTHING""",
}
PROJECTS = """INSERT INTO projects (id, name, description, status)
    SELECT 'YEAR' || n, 'Y', '', 'active' FROM generate_series(1, {projects}) AS n"""
SPRINTS = """INSERT INTO sprints (sprint_id, project_id, sprint_name, start_date, end_date,
        duration_weeks, status)
    SELECT 'YEAR' || n || '-S' || k, 'YEAR' || n, 'S' || k, date '2025-01-01' + k * 14,
        date '2025-01-01' + k * 14 + 13, 2, 'completed'
    FROM generate_series(1, {projects}) AS n, generate_series(1, 30) AS k;
    INSERT INTO tasks (sprint_id, task_id, title, status, progress_percentage, open)
    SELECT sprint_id, sprint_id || '-' || k, 'T', 'completed', 100, false
    FROM sprints, generate_series(1, 10) AS k WHERE project_id LIKE 'YEAR%'"""
TASKS = """INSERT INTO tasks (task_id, project_id, title, status, progress_percentage)
    SELECT 'YEAR' || n || '-' || k, 'YEAR' || n, 'T', 'completed', 100
    FROM generate_series(1, {projects}) AS n, generate_series(1, 300) AS k"""
NOTES = """INSERT INTO chronicle_notes (event_type, project_id, sprint_id, report_date, summary)
    SELECT 'daily_scrum_report', 'YEAR' || n % 50, 'YEAR' || n % 50 || '-S1',
        date '2025-01-01' + n / 50, 'done'
    FROM generate_series(1, {notes}) AS n"""
SERVICES = {
    "project_service": PROJECTS,
    "sprint_service": SPRINTS,
    "backlog_service": TASKS,
    "chronicle_service": NOTES,
}


def counts(scale: float) -> dict[str, int]:
    whole = {
        "runs": 5_000_000,
        "steps": 1_000_000,
        "deliveries": 1_000_000,
        "letters": 200_000,
        "jobs": 300_000,
        "sagas": 300_000,
        "ticks": 100_000,
        "projects": 2_000,
        "notes": 18_250,
    }
    return {name: int(count * scale) for name, count in whole.items()}


async def store(runtime: LocalKnative, scale: float) -> None:
    """Store so much of a year."""
    given = counts(scale)
    functions = await runtime.connect("functions")
    for name, statement in FUNCTIONS.items():
        print(f"  a year: {name}", flush=True)
        await functions.execute(statement.format(**given), timeout=900)
    names = [row["datname"] for row in await functions.fetch("SELECT datname FROM pg_database")]
    await functions.execute("VACUUM ANALYZE", timeout=900)
    await functions.close()
    for service, statement in SERVICES.items():
        database = next(name for name in names if name.replace("-", "_") == service)
        connection = await runtime.connect(database)
        await connection.execute(statement.format(**given), timeout=900)
        await connection.execute("VACUUM ANALYZE", timeout=900)
        await connection.close()
