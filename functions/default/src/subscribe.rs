//! `subscribe`: be told of topics from now on, and of what was missed.

use futures_util::{StreamExt, TryStreamExt, stream};
use tidings::Topic;
use tidings::log::{LogName, LogPosition, Since};
use tidings::metrics::{Metric, Recorder};
use tidings::permissions::Action;
use tidings::protocol::{ClientError, ErrorCode, ReplyBody, Subscribe, Told};
use tidings::recovery::{Reading, RecoveryError};

use crate::frame::Frame;
use crate::outcome::{MOST_BYTES, note, refused};
use crate::presence;
use crate::services::{Error, Services};

/// Logs that are read side by side, where nothing was missed.
const SIDE_BY_SIDE: usize = 16;

pub(crate) async fn run(
    services: &Services,
    frame: &Frame,
    recorder: &Recorder,
    subscribe: Subscribe,
) -> Result<ReplyBody, Error> {
    match subscribe {
        Subscribe::Topics(topics) => to_topics(services, frame, recorder, topics, false).await,
        Subscribe::Watched(topics) => to_topics(services, frame, recorder, topics, true).await,
        Subscribe::User(since) => to_user(services, frame, recorder, since.as_ref()).await,
    }
}

async fn to_topics(
    services: &Services,
    frame: &Frame,
    recorder: &Recorder,
    asked: Vec<(Topic, Option<Since>)>,
    is_watched: bool,
) -> Result<ReplyBody, Error> {
    let topics: Vec<_> = asked.iter().map(|(topic, _)| topic.clone()).collect();
    if let Some(refused) = frame.refused(Action::Subscribe, &topics) {
        return Ok(ReplyBody::Error(refused));
    }
    let id = &frame.caller.connection;
    let subscribed = match is_watched {
        false => services.registry.subscribe_at(frame.place(), id, &topics).await,
        true => match presence::check(services, frame, &topics) {
            Err(error) => return Ok(ReplyBody::Error(error)),
            Ok(()) => services.registry.subscribe_watching(frame.place(), id, &topics).await,
        },
    };
    if let Err(error) = subscribed {
        return refused(error);
    }
    note(frame, recorder, &topics, Metric::Subscriptions, "subscribed");
    // Only now: what is said from here on is pushed, and what was said before is in the log.
    match told(services, frame, recorder, asked).await {
        Ok(told) => Ok(ReplyBody::Subscribed(told)),
        Err(error) => not_read(error),
    }
}

/// Where each log ends, and what was missed of it.
async fn told(
    services: &Services,
    frame: &Frame,
    recorder: &Recorder,
    asked: Vec<(Topic, Option<Since>)>,
) -> Result<Vec<(Topic, Option<Told>)>, RecoveryError> {
    let logs = asked.iter().map(|(topic, since)| of_topic(services, frame, topic, since.as_ref()));
    let read: Vec<_> = stream::iter(logs).buffered(SIDE_BY_SIDE).try_collect().await?;
    let mut room = MOST_BYTES;
    let all = asked.into_iter().zip(read).map(|((topic, since), told)| {
        let is_first = room == MOST_BYTES;
        let told = told.map(|told| told.within(&mut room, is_first));
        count(recorder, since.as_ref(), told.as_ref());
        (topic, told)
    });
    Ok(all.collect())
}

async fn of_topic(
    services: &Services,
    frame: &Frame,
    topic: &Topic,
    since: Option<&Since>,
) -> Result<Option<Told>, RecoveryError> {
    let Some(retention) = services.history.of_topic(topic) else { return Ok(None) };
    let log = LogName::Topic(topic.clone());
    let reading = Reading { log: &log, retention, connection: Some(&frame.caller.connection), now: frame.at };
    read(services, &reading, since).await.map(Some)
}

async fn read(services: &Services, reading: &Reading<'_>, since: Option<&Since>) -> Result<Told, RecoveryError> {
    let mut room = MOST_BYTES;
    match since {
        Some(since) => services.registry.missed(reading, since, &mut room).await,
        None => Ok(nothing_missed(services.registry.end_of_log(reading).await?)),
    }
}

fn nothing_missed(position: LogPosition) -> Told {
    Told { position, recovered: None, messages: Vec::new(), more: false }
}

async fn to_user(
    services: &Services,
    frame: &Frame,
    recorder: &Recorder,
    since: Option<&Since>,
) -> Result<ReplyBody, Error> {
    let caller = &frame.caller;
    let Some(user) = &caller.user else { return Ok(ReplyBody::Error(anonymous())) };
    let Some(retention) = services.history.of_user(user) else { return Ok(ReplyBody::SubscribedUser(None)) };
    let log = LogName::User(user.clone());
    let reading = Reading { log: &log, retention, connection: Some(&caller.connection), now: frame.at };
    match read(services, &reading, since).await {
        Ok(told) => {
            count(recorder, since, Some(&told));
            Ok(ReplyBody::SubscribedUser(Some(told)))
        }
        Err(error) => not_read(error),
    }
}

fn count(recorder: &Recorder, since: Option<&Since>, told: Option<&Told>) {
    if let (Some(_), Some(told)) = (since, told) {
        let metric = if told.recovered == Some(true) { Metric::Recovered } else { Metric::MissedBeyondLog };
        recorder.add(metric, 1);
    }
}

/// What the client is told that asks for its user's messages and is nobody.
pub(crate) fn anonymous() -> ClientError {
    ClientError::new(ErrorCode::Forbidden, "this connection has no user; connect with a token that names one")
}

pub(crate) fn not_read(error: RecoveryError) -> Result<ReplyBody, Error> {
    match error {
        RecoveryError::Registry(error) => refused(error),
        ahead => Ok(ReplyBody::Error(ClientError::bad_request(ahead.to_string()))),
    }
}
