//! The page of `docs/why-websockets.md`, in a real browser: by asking and by a socket it shows the same.

use serde_json::json;
use tests::browser::Page;
use tests::issuer::{now, secret_token};
use tests::stack::{Stack, root};

const SHOWN: &str = "[...document.querySelectorAll('#messages li')].map((item) => item.textContent).join(' ')";

async fn say(stack: &Stack, data: &str) {
    let notification = json!({"to": {"topic": "news"}, "data": data, "dataType": "text"});
    let answer = stack.invoke("notifier", &notification.to_string()).await;
    assert!(!answer.failed, "{answer:?}");
}

async fn is_state(page: &mut Page, state: &str) {
    page.until(&format!("document.getElementById('state').textContent === '{state}'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_asks_and_one_on_a_socket_show_the_same_messages() {
    let (Some(mut asking), Some(mut listening)) = (Page::new().await, Page::new().await) else { return };
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let claims = json!({"sub": "u1", "exp": now() + 600, "permissions": ["subscribe:news"]});
    let token = secret_token(&stack.secret().await, &claims);
    say(&stack, "before").await;
    let page = format!("file://{}?topic=news", root().join("docs/messages.html").display());
    asking.open(&format!("{page}&api={}#{token}", stack.api())).await;
    listening.open(&format!("{page}&socket={}#{token}", stack.url())).await;
    is_state(&mut asking, "asking").await;
    is_state(&mut listening, "listening").await;
    for data in ["one", "two", "three"] {
        say(&stack, data).await;
    }
    for page in [&mut asking, &mut listening] {
        page.until(&format!("{SHOWN} === 'before one two three'")).await;
        assert_eq!(page.complaints().await, [] as [String; 0]);
    }
    stack.stop().await;
}

#[test]
fn the_code_in_the_guide_is_that_of_the_page() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (guide, page) = (read("docs/why-websockets.md"), read("docs/messages.html"));
    let code = guide.split("```js\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(page.contains(code), "{code}");
}
