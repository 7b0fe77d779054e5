//! The page at `/`: what runs, and a small client to try it with.

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;

use crate::lambda::Names;
use crate::stack::Stack;

use super::Addresses;

/// The page, with one mark where the state goes.
const PAGE: &str = include_str!("console.html");
const MARK: &str = "\"__STATE__\"";

pub(super) fn router(stack: &Stack, addresses: &Addresses) -> Router {
    let page = page(stack, addresses);
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src *; \
                  img-src data:; frame-ancestors 'none'";
    Router::new().route("/", get(move || async move { ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)) }))
}

fn page(stack: &Stack, addresses: &Addresses) -> String {
    let names = Names::new(stack);
    let functions = stack.functions.iter().map(|(id, function)| {
        json!({"id": id, "name": names.label(id), "timeout": function.timeout_seconds, "memory": function.memory_mb})
    });
    let apis = stack.apis.iter().map(|(id, api)| {
        let stages: Vec<_> = api.stages.iter().map(|stage| &stage.name).collect();
        let routes: Vec<_> = api.routes.keys().collect();
        json!({"id": id, "apiId": api.api_id, "stages": stages, "routes": routes})
    });
    let tables: Vec<_> = stack.tables.values().map(|table| &table.name).collect();
    let state = json!({
        "addresses": addresses,
        "functions": functions.collect::<Vec<_>>(),
        "apis": apis.collect::<Vec<_>>(),
        "tables": tables,
        "notifier": names.resolve("notifier"),
    });
    // Inside a script element only `<` could end what the text is.
    PAGE.replace(MARK, &state.to_string().replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::testing::function;

    #[test]
    fn the_state_is_in_the_page_and_cannot_end_its_script() {
        let mut stack = Stack::default();
        stack.functions.insert("F".into(), function("</script>", Some("/app/</script>")));
        let addresses = Addresses {
            websocket: "ws://127.0.0.1:1/dev".into(),
            management: "http://127.0.0.1:1/dev".into(),
            lambda: "http://127.0.0.1:1".into(),
            dynamodb: "http://127.0.0.1:2".into(),
            sqs: "http://127.0.0.1:1".into(),
            console: "http://127.0.0.1:1/".into(),
        };
        let page = page(&stack, &addresses);
        assert!(page.contains(r#""websocket":"ws://127.0.0.1:1/dev""#));
        assert!(!page.contains(MARK));
        assert_eq!(page.matches("</script>").count(), 1);
    }
}
