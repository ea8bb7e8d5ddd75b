"""Replays flights as live traffic, and delivers what really happened later: runs in a pod, inside the cluster.

It reads `replay/flights.parquet`, sends its rows through the Service at a steady pace, and some seconds after they were sent
writes what really happened: to `labels/` by the request's id, for checks of quality, and, as a feed of its own that may end
earlier, whole rows to `labelled/`, for training. Each second it prints one line of JSON. It ends when the object
`replay/stop` appears, or when the flights are used up.
"""

import http.client
import io
import json
import os
import queue
import threading
import time

import boto3
import polars as pl

URL_HOST = os.environ["MODEL_HOST"]
PATH = f"/v2/models/{os.environ['MODEL_NAME']}/infer"
BUCKET = os.environ["BUCKET"]
ROWS_PER_REQUEST = int(os.environ.get("ROWS_PER_REQUEST", "10"))
REQUESTS_PER_SECOND = float(os.environ.get("REQUESTS_PER_SECOND", "20"))
LABELS_UNTIL = os.environ.get("LABELS_UNTIL", "9999")  # later flights do not come to training (ISO date)
LABEL_DELAY = float(os.environ.get("LABEL_DELAY", "20"))  # seconds
DROP_COLUMN = os.environ.get("DROP_COLUMN", "")  # for a schema break: this column is not sent
CONNECTIONS = int(os.environ.get("CONNECTIONS", "4"))  # kept open; each asks one pod until that closes it
TIMESTAMP, TARGET = "scheduled_at", "late"

store = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1")
counts = {"sent": 0, "failed": 0, "rows": 0}
revisions: dict[str, int] = {}
errors: dict[str, int] = {}
lock = threading.Lock()


def request_id(position: int) -> str:
    """The id of the request that begins with this row."""
    return f"flights-{position}"


def body(rows: pl.DataFrame, position: int) -> bytes:
    """An Open Inference Protocol request: one tensor per column."""
    inputs = []
    for column in rows.columns:
        if column in (TIMESTAMP, TARGET, DROP_COLUMN):
            continue
        kind = "BYTES" if rows.schema[column] == pl.String else "FP64"
        inputs.append({"name": column, "shape": [rows.height], "datatype": kind, "data": rows[column].to_list()})
    return json.dumps({"id": request_id(position), "inputs": inputs}).encode()


def sender(work: "queue.Queue[bytes | None]") -> None:
    """Send requests over one kept connection, as a pooled client does; a failure is counted, never repeated."""
    connection = None
    while (payload := work.get()) is not None:
        try:
            if connection is None:
                connection = http.client.HTTPConnection(URL_HOST, timeout=10)
            connection.request("POST", PATH, payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            good, revision = answer.status == 200, answer.getheader("x-stationkeeper-revision") or ""
            error = "" if good else f"{answer.status} {text[:120].decode(errors='replace')}"
            if answer.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as failure:
            good, revision, error = False, "", f"{type(failure).__name__}: {failure}"
            connection = None
        with lock:
            counts["sent"] += 1
            counts["failed"] += not good
            if revision:
                revisions[revision] = revisions.get(revision, 0) + 1
            if error:
                errors[error] = errors.get(error, 0) + 1


def deliver(rows: pl.DataFrame, position: int) -> None:
    """Write what happened to the flights that were sent from this position on."""
    number = pl.int_range(position, position + rows.height, dtype=pl.UInt32)
    begin = number // ROWS_PER_REQUEST * ROWS_PER_REQUEST
    ids = pl.format("flights-{}", begin).alias("request_id")
    put("labels", rows.select(ids, (number - begin).alias("row"), TARGET), position)
    put("labelled", rows.filter(pl.col(TIMESTAMP).dt.strftime("%Y-%m-%dT%H:%M") < LABELS_UNTIL), position)


def put(folder: str, rows: pl.DataFrame, position: int) -> None:
    """One file of a feed."""
    if rows.is_empty():
        return
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    store.put_object(Bucket=BUCKET, Key=f"{folder}/replayed-{position:08d}.parquet", Body=buffer.getvalue())


def stopped() -> bool:
    """Whether somebody wants the replay to end."""
    return bool(store.list_objects_v2(Bucket=BUCKET, Prefix="replay/stop").get("KeyCount"))


def report(rows: pl.DataFrame, position: int, final: bool = False) -> None:
    """One line about how far it is."""
    with lock:
        line = {
            **counts,
            "rows": position,
            "through": str(rows[TIMESTAMP][min(position, rows.height - 1)])[:16],
            "revisions": dict(revisions),
            "errors": dict(sorted(errors.items())[:5]),
            "final": final,
        }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Replay until told to stop."""
    data = store.get_object(Bucket=BUCKET, Key="replay/flights.parquet")["Body"].read()
    rows = pl.read_parquet(io.BytesIO(data))
    work: queue.Queue[bytes | None] = queue.Queue(maxsize=200)
    senders = [threading.Thread(target=sender, args=(work,)) for _ in range(CONNECTIONS)]
    for thread in senders:
        thread.start()
    started, position, labelled, told = time.monotonic(), 0, 0, 0.0
    pending: list[tuple[float, int]] = []  # when rows up to a position may be labelled
    while position < rows.height:
        due = started + (position / ROWS_PER_REQUEST) / REQUESTS_PER_SECOND
        time.sleep(max(0.0, due - time.monotonic()))
        work.put(body(rows[position : position + ROWS_PER_REQUEST], position))
        position += ROWS_PER_REQUEST
        if time.monotonic() - told >= 1.0:
            told = time.monotonic()
            report(rows, position)
            if stopped():
                break
        if not pending or position - pending[-1][1] >= 2000:
            pending.append((time.monotonic() + LABEL_DELAY, position))
        while pending and pending[0][0] <= time.monotonic():
            _, until = pending.pop(0)
            if until > labelled:
                deliver(rows[labelled:until], labelled)
                labelled = until
    for _ in senders:
        work.put(None)
    for thread in senders:
        thread.join(30)
    report(rows, position, final=True)


if __name__ == "__main__":
    main()
