//! Streams of tables: read every shard in order, invoke, go on only when a batch is done or given up.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodbstreams::types::Record;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use super::positions::Positions;
use super::records::StreamRecord;
use super::retries::{Plan, Step};
use super::shards::{ReadError, Start, Streams};
use super::{Mapping, pause};
use crate::destination::{self, Condition, Failure, StreamBatch};
use crate::{Invocation, Services};
use tidings_local_stack::StreamOptions;
use tidings_local_stack::filter;

/// How often a shard without news is looked at. Lambda looks four times a second.
const POLL: Duration = Duration::from_millis(250);

/// How often new shards are looked for.
const DISCOVERY: Duration = Duration::from_secs(10);

/// A mapping of a table's stream.
pub(super) struct Stream {
    shared: Arc<Shared>,
    /// Shards with the places where reading begins; `None` when they could not be had yet.
    first: Option<Opened>,
}

struct Shared {
    mapping: Arc<Mapping>,
    streams: Streams,
    table: String,
    arn: String,
    options: StreamOptions,
    /// How far it was, where that is kept.
    positions: Option<Positions>,
}

/// A stream with the shards that it had.
struct Opened {
    /// Its ARN where it really is.
    stream: String,
    shards: Vec<Place>,
}

/// A place in a shard.
#[derive(Clone)]
struct Place {
    shard: String,
    parent: Option<String>,
    start: Start,
    /// Where to read next; `None` makes it begin at `start`.
    iterator: Option<String>,
    /// The shard is closed and read to its end.
    ended: bool,
}

impl Stream {
    /// Finds the places where reading begins, so that nothing is missed that is written later.
    pub(super) async fn open(
        mapping: Arc<Mapping>,
        services: &Services,
        table: &str,
        arn: &str,
        options: &StreamOptions,
        positions: Option<Positions>,
    ) -> Self {
        let shared = Shared {
            mapping,
            streams: Streams::new(services, table),
            table: table.to_owned(),
            arn: arn.to_owned(),
            options: options.clone(),
            positions,
        };
        let start = if options.from_the_beginning { Start::Oldest } else { Start::Newest };
        let first = match shared.open(&start).await {
            Ok(opened) => Some(opened),
            Err(error) => {
                shared.warn(&error);
                None
            }
        };
        Self { shared: Arc::new(shared), first }
    }

    /// Reads for as long as the task lives.
    pub(super) async fn run(self) {
        let Self { shared, first } = self;
        let Opened { stream, shards } = match first {
            Some(opened) => opened,
            None => shared.keep_opening().await,
        };
        let stream: Arc<str> = stream.into();
        let mut known: HashSet<String> = HashSet::new();
        let mut open: HashSet<String> = HashSet::new();
        let mut readers = JoinSet::new();
        let mut found = shards;
        loop {
            for place in found {
                // A child's records come after its parent's.
                let waits = place.parent.as_ref().is_some_and(|parent| open.contains(parent));
                if !waits && known.insert(place.shard.clone()) {
                    open.insert(place.shard.clone());
                    readers.spawn(Arc::clone(&shared).read(Arc::clone(&stream), place));
                }
            }
            tokio::select! {
                Some(Ok(shard)) = readers.join_next() => {
                    open.remove(&shard);
                }
                () = tokio::time::sleep(DISCOVERY) => {}
            }
            // What is found later is read from its beginning. A failure shows when records are read.
            found = shared.shards(&stream, &Start::Oldest).await.unwrap_or_default();
        }
    }
}

impl Shared {
    async fn open(&self, start: &Start) -> Result<Opened, String> {
        let stream = self.streams.arn().await?;
        let mut shards = self.shards(&stream, start).await?;
        let kept = self.positions.as_ref().map(Positions::read).transpose().map_err(|error| error.to_string())?;
        for place in &mut shards {
            if let Some(kept) = &kept {
                place.start = match kept.get(&place.shard) {
                    Some(start) => start.clone(),
                    None => self.first_position(&stream, place).await?,
                };
            }
            let start = &place.start;
            place.iterator = self.streams.iterator(&stream, &place.shard, start).await?;
        }
        Ok(Opened { stream, shards })
    }

    /// Where a mapping begins that has read nothing of a shard yet, noted: else what is written from now on would be lost if
    /// this process ended before it was read.
    async fn first_position(&self, stream: &str, place: &Place) -> Result<Start, String> {
        let mut last = None;
        if matches!(place.start, Start::Newest) {
            let mut iterator = self.streams.iterator(stream, &place.shard, &Start::Oldest).await?;
            while let Some(from) = iterator {
                let (records, next) = self.streams.records(&from, 1_000).await.map_err(|error| match error {
                    ReadError::Lost => "its beginning is gone".to_owned(),
                    ReadError::Other(error) => error,
                })?;
                let number = |record: &Record| Some(record.dynamodb()?.sequence_number()?.to_owned());
                let Some(newest) = records.last().and_then(number) else { break };
                last = Some(newest);
                iterator = next;
            }
        }
        self.note(&place.shard, last.as_deref());
        Ok(last.map_or(Start::Oldest, Start::After))
    }

    /// Keeps how far a shard is read.
    fn note(&self, shard: &str, last: Option<&str>) {
        let Some(positions) = &self.positions else { return };
        if let Err(error) = positions.note(shard, last) {
            self.warn(&format!("how far it is cannot be kept ({error}), so records may come again at the next start"));
        }
    }

    async fn keep_opening(&self) -> Opened {
        let mut failures = 0;
        loop {
            failures += 1;
            tokio::time::sleep(pause(failures)).await;
            if let Ok(opened) = self.open(&Start::Oldest).await {
                return opened;
            }
        }
    }

    async fn shards(&self, stream: &str, start: &Start) -> Result<Vec<Place>, String> {
        let shards = self.streams.shards(stream).await?;
        let place = |shard: aws_sdk_dynamodbstreams::types::Shard| {
            let (parent, start) = (shard.parent_shard_id, start.clone());
            Some(Place { shard: shard.shard_id?, parent, start, iterator: None, ended: false })
        };
        Ok(shards.into_iter().filter_map(place).collect())
    }

    /// Reads one shard to its end; its id.
    async fn read(self: Arc<Self>, stream: Arc<str>, mut place: Place) -> String {
        let mut failures = 0;
        loop {
            match self.batch(&stream, &mut place).await {
                Ok(records) if records.is_empty() && place.ended => return place.shard,
                Ok(records) if records.is_empty() => tokio::time::sleep(POLL).await,
                Ok(records) => {
                    self.deliver(&place.shard, &records).await;
                    self.note(&place.shard, records.last().map(|record| record.sequence_number.as_str()));
                }
                Err(error) => {
                    if failures == 0 {
                        self.warn(&error);
                    }
                    failures += 1;
                    tokio::time::sleep(pause(failures)).await;
                    continue;
                }
            }
            failures = 0;
        }
    }

    /// The next records, gathered for as long as the batching window says.
    async fn batch(&self, stream: &str, place: &mut Place) -> Result<Vec<StreamRecord>, String> {
        let source = &self.mapping.source;
        let mut batch = Vec::new();
        let mut end: Option<Instant> = None;
        loop {
            if place.ended {
                return Ok(batch);
            }
            let Some(iterator) = self.iterator(stream, place).await? else { return Ok(batch) };
            match self.streams.records(&iterator, source.batch_size - batch.len()).await {
                Ok((records, next)) => {
                    place.ended = next.is_none();
                    place.iterator = next;
                    batch.extend(
                        records.into_iter().map(|record| StreamRecord::new(record, &self.arn, &self.mapping.region)),
                    );
                }
                Err(ReadError::Lost) => place.iterator = None,
                // What is read already must not be lost.
                Err(ReadError::Other(_)) if !batch.is_empty() => return Ok(batch),
                Err(ReadError::Other(error)) => return Err(error),
            }
            let Some(last) = batch.last() else { return Ok(batch) };
            place.start = Start::After(last.sequence_number.clone());
            let end = *end.get_or_insert_with(|| Instant::now() + Duration::from_secs(source.batching_window));
            if batch.len() >= source.batch_size || Instant::now() >= end {
                return Ok(batch);
            }
            tokio::time::sleep(POLL.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn iterator(&self, stream: &str, place: &mut Place) -> Result<Option<String>, String> {
        if place.iterator.is_none() {
            place.iterator = self.streams.iterator(stream, &place.shard, &place.start).await?;
        }
        Ok(place.iterator.clone())
    }

    /// Brings a batch to the function, however often that takes.
    async fn deliver(&self, shard: &str, batch: &[StreamRecord]) {
        let wanted = |record: &&StreamRecord| filter::passes(&self.mapping.source.filters, &record.json);
        let records: Vec<_> = batch.iter().filter(wanted).cloned().collect();
        let now = OffsetDateTime::now_utc;
        let age = |record: usize| Duration::try_from(now() - records[record].arrival).unwrap_or_default();
        let mut plan = Plan::new(records.len(), &self.options);
        let mut last: Option<Invocation> = None;
        loop {
            match plan.next(age) {
                Step::Done => return,
                Step::GiveUp { records: range, condition, invocations } => {
                    self.give_up(shard, &records[range], condition, invocations, last.as_ref());
                }
                Step::Invoke(range) => match self.invoke(&records, range, &mut last).await {
                    Ok(()) => plan.succeeded(),
                    Err(first) => {
                        plan.failed(first);
                        tokio::time::sleep(pause(plan.failures())).await;
                    }
                },
            }
        }
    }

    /// Invokes the function with some records. An error is the first one that failed, if the function told.
    async fn invoke(
        &self,
        records: &[StreamRecord],
        range: Range<usize>,
        last: &mut Option<Invocation>,
    ) -> Result<(), Option<usize>> {
        let piece = &records[range.clone()];
        let event: Vec<_> = piece.iter().map(|record| record.json.clone()).collect();
        let outcome = self.mapping.invoke(&event).await;
        let numbers: Vec<&str> = piece.iter().map(|record| record.sequence_number.as_str()).collect();
        let failed = self.mapping.failed_items(&outcome, &numbers);
        *last = outcome.ok();
        match failed {
            Ok(failed) => {
                let first = numbers.iter().position(|number| failed.iter().any(|failed| failed == number));
                first.map_or(Ok(()), |first| Err(Some(range.start + first)))
            }
            Err(reason) => {
                let (label, count) = (&self.mapping.label, piece.len());
                let records = if count == 1 { "a record" } else { &format!("{count} records") };
                self.mapping.logs.warn(&format!("function {label} failed on {records} of {}: {reason}", self.table));
                Err(None)
            }
        }
    }

    fn give_up(
        &self,
        shard: &str,
        records: &[StreamRecord],
        condition: Condition,
        invocations: u32,
        last: Option<&Invocation>,
    ) {
        let ([first, ..], [.., end]) = (records, records) else { return };
        let (mapping, table, count) = (&self.mapping, &self.table, records.len());
        let failure = Failure {
            request_id: last.map_or("", |invocation| invocation.request_id.as_str()),
            function_arn: &mapping.function_arn,
            condition,
            invocations,
            response: last,
        };
        let ends = [first, end].map(|record| (record.sequence_number.as_str(), record.arrival));
        let batch = StreamBatch { shard, stream_arn: &self.arn, size: count, ends };
        let told = self.options.on_failure.as_ref().map(|queue| {
            mapping.sqs.send_to_arn(queue, destination::of_stream_batch(&failure, &batch)).map(|()| queue)
        });
        let label = &mapping.label;
        let what = format!("{count} of the records of {table} are given up, for function {label} ({condition:?})");
        match told {
            None => mapping.logs.error(&what),
            Some(Ok(queue)) => {
                let queue = queue.rsplit(':').next().unwrap_or(queue);
                mapping.logs.warn(&format!("{what}; {queue} is told"));
            }
            Some(Err(error)) => mapping.logs.error(&format!("{what}, and their queue does not take it: {error}")),
        }
    }

    fn warn(&self, error: &str) {
        self.mapping.logs.warn(&format!("the stream of {} cannot be read: {error}", self.table));
    }
}
