//! `tidings connections`: who is connected, by the REST API.

use clap::{ArgGroup, Subcommand};
use http::Method;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use super::rest::{Api, Rest, encoded, print, print_table, target};
use super::{Failure, status};

/// Connections that one page of the API has.
const PAGE: usize = 1_000;

/// List, count, show and close connections.
///
/// Without --stack and --endpoint they are those of the `tidings dev` of this machine. Calls of a deployed stack are signed with
/// the credentials that the AWS command line would use.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List connections: all, those of a user, or those subscribed to a topic
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        api: Api,
    },
    /// Count them
    Count {
        #[command(flatten)]
        filter: Filter,
        /// Tell it from a part of them, which is quick and cheap where there are many
        #[arg(long)]
        estimate: bool,
        #[command(flatten)]
        api: Api,
    },
    /// Show one connection with its topics
    Show {
        /// The connection's id
        #[arg(allow_hyphen_values = true)]
        id: String,
        #[command(flatten)]
        api: Api,
    },
    /// Close one connection; its client may connect again
    Close {
        /// The connection's id
        #[arg(allow_hyphen_values = true)]
        id: String,
        #[command(flatten)]
        api: Api,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("filter").args(["user", "topic"]))]
struct Filter {
    /// Those of this user
    #[arg(long)]
    user: Option<String>,
    /// Those subscribed to this topic
    #[arg(long)]
    topic: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  tidings connections list --topic orders/42
  tidings connections list --user alice --json | jq -r .id
  tidings connections count --estimate
  tidings connections show BFHPhfCWIAMCKlQ=
  tidings connections list --stack shop --region eu-west-1
  tidings connections close BFHPhfCWIAMCKlQ= --endpoint https://abc.execute-api.eu-west-1.amazonaws.com";

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::List { filter, limit, api } => list(&api.open().await?, &filter, limit).await,
        Action::Count { filter, estimate, api } => count(&api.open().await?, &filter, estimate).await,
        Action::Show { id, api } => show(&api.open().await?, &id).await,
        Action::Close { id, api } => {
            api.open().await?.call(Method::DELETE, &one(&id)).await?;
            status(&format!("closed {id}"));
            Ok(())
        }
    }
}

fn one(id: &str) -> String {
    format!("/connections/{}", encoded(id))
}

impl Filter {
    fn parameters(&self) -> [(&str, Option<&str>); 2] {
        [("user", self.user.as_deref()), ("topic", self.topic.as_deref())]
    }
}

async fn list(api: &Rest<'_>, filter: &Filter, limit: usize) -> Result<(), Failure> {
    let mut connections: Vec<Value> = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = (limit - connections.len()).clamp(1, PAGE).to_string();
        let mut parameters = filter.parameters().to_vec();
        parameters.extend([("limit", Some(page.as_str())), ("next", next.as_deref())]);
        let mut answer = api.call(Method::GET, &target("/connections", &parameters)).await?;
        connections.extend(answer["connections"].as_array().cloned().unwrap_or_default());
        next = answer["next"].take().as_str().map(str::to_owned);
        if next.is_none() || connections.len() >= limit {
            break;
        }
    }
    connections.truncate(limit);
    if api.json {
        connections.iter().try_for_each(|connection| print(&connection.to_string()))?;
    } else {
        let rows: Vec<_> = connections.iter().map(row).collect();
        print_table(["ID", "USER", "PROTOCOL", "CONNECTED"], &rows)?;
    }
    if next.is_some() {
        status(&format!("there are more than {limit}: see --limit, or narrow it with --user or --topic"));
    }
    Ok(())
}

fn row(connection: &Value) -> [String; 4] {
    let text = |name: &str| connection[name].as_str().unwrap_or("-").to_owned();
    [text("id"), text("user"), text("protocol"), instant(&connection["connectedAt"])]
}

/// Milliseconds since the epoch, as people read it.
fn instant(value: &Value) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let time = value.as_i64().and_then(|ms| OffsetDateTime::from_unix_timestamp(ms / 1_000).ok());
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| "-".to_owned())
}

async fn count(api: &Rest<'_>, filter: &Filter, estimate: bool) -> Result<(), Failure> {
    let mut parameters = filter.parameters().to_vec();
    parameters.push(("estimate", estimate.then_some("true")));
    let answer = api.call(Method::GET, &target("/connections/count", &parameters)).await?;
    if api.json {
        return print(&answer.to_string());
    }
    let about = if answer["estimated"] == true { "about " } else { "" };
    print(&format!("{about}{}", answer["count"]))
}

async fn show(api: &Rest<'_>, id: &str) -> Result<(), Failure> {
    let answer = api.call(Method::GET, &one(id)).await?;
    if api.json {
        return print(&answer.to_string());
    }
    let text = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
    let open = match answer["open"].as_bool() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not known",
    };
    let mut lines = vec![
        format!("id           {}", text("id")),
        format!("user         {}", text("user")),
        format!("protocol     {}", text("protocol")),
        format!("connected    {}", instant(&answer["connectedAt"])),
        format!("open         {open}"),
        format!("last active  {}", instant(&answer["lastActiveAt"])),
    ];
    let topics = answer["topics"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(topics.map(|topic| format!("topic        {topic}")));
    print(&lines.join("\n"))
}
