//! A template of somebody else: an API whose only route is a mock, without a function or a table.

use tests::stack::Stack;
use tidings_test::Client;

use super::Console;

const TEMPLATE: &str = r#"
Resources:
  Chat:
    Type: AWS::ApiGatewayV2::Api
    Properties: { Name: chat, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action }
  Echo:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref Chat
      RouteKey: $default
      RouteResponseSelectionExpression: $default
      Target: !Join [/, [integrations, !Ref Mock]]
  Mock:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Chat
      IntegrationType: MOCK
      TemplateSelectionExpression: '200'
      RequestTemplates: { '200': '{"statusCode":200}' }
  MockResponse:
    Type: AWS::ApiGatewayV2::IntegrationResponse
    Properties:
      ApiId: !Ref Chat
      IntegrationId: !Ref Mock
      IntegrationResponseKey: $default
      ResponseTemplates: { '200': 'hello' }
      TemplateSelectionExpression: '200'
  Reply:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties: { ApiId: !Ref Chat, RouteId: !Ref Echo, RouteResponseKey: $default }
  Live:
    Type: AWS::ApiGatewayV2::Stage
    Properties: { ApiId: !Ref Chat, StageName: live }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_watched_all_the_same_without_topics_and_without_the_form() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.yaml");
    std::fs::write(&template, TEMPLATE).unwrap();
    let Some(mut console) = Console::of(async || Stack::start_at(&template, &[], &[]).await).await else { return };
    console.shows("#notify-none", "This stack has no function called notifier").await;
    let mut client = Client::connect(console.stack.url()).await;
    client.send("{}").await;
    console.shows("#timeline-rows .in .tag", "$default").await;
    console.page.until("document.querySelector('#connections-rows .traffic')?.textContent.startsWith('1 /')").await;
    let topics = console.page.eval("document.querySelector('#connections .topics').checkVisibility()").await;
    assert_eq!(topics, false);

    console.page.click("[data-view=client]").await;
    console.page.click("#client-connect").await;
    console.shows("#client-state", "connected").await;
    console.shows("#connections-count", "2").await;
    let fields = console.page.eval("document.getElementById('client-topics').checkVisibility()").await;
    assert_eq!(fields, false);
    console.picture("others.png").await;
    console.close().await;
}
