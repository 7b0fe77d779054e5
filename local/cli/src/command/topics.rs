//! `tidings topics`: the durable topics of users, by the REST API.

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::rest::{Api, Rest, print, target};
use super::{Failure, status};

/// The path of a user that is named in the query, which takes any name.
const PATH: &str = "/users/-/topics";

/// Give users durable topics: they are subscribed on all their connections, those to come included.
///
/// Without --stack and --endpoint it is about the `tidings dev` of this machine. Calls of a deployed stack are signed with the
/// credentials that the AWS command line would use.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Subscribe a user to a topic
    Add {
        /// The user
        user: String,
        /// The topic
        topic: String,
        #[command(flatten)]
        api: Api,
    },
    /// Unsubscribe a user from a topic
    Remove {
        /// The user
        user: String,
        /// The topic
        topic: String,
        #[command(flatten)]
        api: Api,
    },
    /// List the durable topics of a user, one a line
    List {
        /// The user
        user: String,
        #[command(flatten)]
        api: Api,
    },
}

const EXAMPLES: &str = "\
Examples:
  tidings topics add alice news/local
  tidings topics list alice
  tidings topics add alice news/local --stack shop
  tidings topics remove alice news/local --endpoint https://abc.execute-api.eu-west-1.amazonaws.com";

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::Add { user, topic, api } => change(&api.open().await?, Method::PUT, &user, &topic, "on").await,
        Action::Remove { user, topic, api } => {
            change(&api.open().await?, Method::DELETE, &user, &topic, "taken from").await
        }
        Action::List { user, api } => list(&api.open().await?, &user).await,
    }
}

async fn change(api: &Rest<'_>, method: Method, user: &str, topic: &str, done: &str) -> Result<(), Failure> {
    let answer = api.call(method, &target(PATH, &[("user", Some(user)), ("topic", Some(topic))])).await?;
    if api.json {
        return print(&answer.to_string());
    }
    let connections = match &answer["connections"] {
        Value::Number(one) if one.as_u64() == Some(1) => "1 connection".to_owned(),
        count => format!("{count} connections"),
    };
    status(&format!("{topic} of {user}: {done} {connections} now open"));
    Ok(())
}

async fn list(api: &Rest<'_>, user: &str) -> Result<(), Failure> {
    let answer = api.call(Method::GET, &target(PATH, &[("user", Some(user))])).await?;
    if api.json {
        return print(&answer.to_string());
    }
    let mut topics = answer["topics"].as_array().into_iter().flatten().filter_map(Value::as_str);
    topics.try_for_each(print)
}
