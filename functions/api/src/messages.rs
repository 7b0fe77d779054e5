//! Reading the log of a topic or a user.

use tidings::clock::Clock;
use tidings::history::{History, Retention};
use tidings::log::{LogName, Since};
use tidings::metrics::{Metric, Recorder};
use tidings::protocol::{Told, encode_told};
use tidings::recovery::{self, Reading, RecoveryError};

use crate::Deps;
use crate::asked::Asked;
use crate::client::Client;
use crate::event::Event;
use crate::long_poll::{Waited, wait};
use crate::problem::Problem;
use crate::response::Response;

/// Messages that one answer may have, in bytes; one message always fits. Lambda takes 6 MB, in which quotation marks count
/// twice.
const MOST_BYTES: usize = 1_024 * 1_024;
/// When to come again for who could not wait, in seconds.
const RETRY_AFTER: &str = "5";

/// Answers with what the log has, or waits for it to have something.
pub(crate) async fn read(deps: &Deps, event: &Event, recorder: &Recorder) -> Result<Response, Problem> {
    let mut query = event.query()?;
    let asked = Asked::take(&mut query)?;
    let token = query.take("access_token");
    query.finish()?;
    let client = Client::identify(deps, event, token, asked.user()).await?;
    client.check(&asked.log)?;
    let retention = retention(&deps.history, &asked.log).ok_or(Problem::NoLog)?;
    let told = tell(deps, &asked, retention).await?;
    let Some(end) = asked.since.as_ref().filter(|since| !asked.wait.is_zero() && **since == told.position) else {
        return Ok(response(&told));
    };
    match wait(deps, &asked.log, end, asked.wait).await? {
        Waited::Full => {
            recorder.add(Metric::LongPollsRefused, 1);
            Ok(response(&told).with_header("retry-after", RETRY_AFTER))
        }
        waited => {
            recorder.add(Metric::LongPolls, 1);
            Ok(match waited {
                Waited::Changed => response(&tell(deps, &asked, retention).await?),
                _ => response(&told),
            })
        }
    }
}

fn retention(history: &History, log: &LogName) -> Option<Retention> {
    match log {
        LogName::Topic(topic) => history.of_topic(topic),
        LogName::User(user) => history.of_user(user),
    }
}

async fn tell(deps: &Deps, asked: &Asked, retention: Retention) -> Result<Told, Problem> {
    let now = Clock::System.milliseconds();
    let reading = Reading { log: &asked.log, retention, connection: None, now };
    let since = asked.since.clone().map(|position| Since { position, connection: None });
    // Who has nothing gets the newest, and the newest are at hand from behind.
    let reverse = asked.reverse || since.is_none();
    let wanted = recovery::Asked { since: since.as_ref(), limit: asked.limit, reverse };
    let mut room = MOST_BYTES;
    let mut told = deps.registry.history(&reading, wanted, &mut room).await.map_err(problem)?;
    if reverse && !asked.reverse {
        told.messages.reverse();
    }
    Ok(told)
}

fn response(told: &Told) -> Response {
    Response::text("application/json", &encode_told(told))
}

fn problem(error: RecoveryError) -> Problem {
    match error {
        RecoveryError::Registry(error) => error.into(),
        RecoveryError::Ahead { since, end } => Problem::invalid(
            "offset",
            format!("it is {since}, and the log ends at {end}; give the offset of the last message that came"),
        ),
        other => Problem::internal(&other),
    }
}
