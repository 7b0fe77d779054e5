//! Stacks that nest others, as files in a folder.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::super::{
    Context, TemplateError, load,
    testing::{SQS, named, named_in, nested_name},
};
use tidings_local_stack::{Integration, Source, Stack};

/// A folder with these files; the first one is the main template.
struct Files<'a> {
    folder: TempDir,
    main: &'a str,
}

impl<'a> Files<'a> {
    fn new(files: &[(&'a str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { folder, main: files[0].0 }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn load_with(&self, given: &[(&str, &str)]) -> Result<Stack, TemplateError> {
        let parameters = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load(&self.path().join(self.main), Context { parameters: &parameters, sqs: SQS, functions_elsewhere: false })
    }

    fn stack(&self) -> Stack {
        self.load_with(&[]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Text without the folder's own path.
    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.path().display()), "")
    }

    fn error(&self) -> String {
        self.short(&self.load_with(&[]).expect_err("a fault").to_string())
    }

    fn notes(&self, stack: &Stack) -> Vec<String> {
        let file = |note: &tidings_local_stack::Note| self.short(&note.file.as_ref().unwrap().display().to_string());
        stack.notes.iter().map(|note| format!("{}:{}: {}", file(note), note.line, note.text)).collect()
    }
}

/// A template with an API, a function, a queue and a table that all can be nested.
const CHILD: &str = "
Metadata: {tidings: {dev: {Parameters: {Colour: blue, Size: small}}}}
Parameters:
  Colour: {Type: String, Default: red}
  Size: {Type: String, Default: large, AllowedValues: [small, large, huge]}
  Zones: {Type: CommaDelimitedList, Default: z}
Conditions:
  Never: !Equals [a, b]
Resources:
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      StageName: dev
      RouteSelectionExpression: $request.body.action
      Routes: {$connect: {FunctionArn: !GetAtt Function.Arn}}
  Function:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: notifier}}
    Properties:
      CodeUri: ..
      Environment:
        Variables:
          COLOUR: !Ref Colour
          SIZE: !Ref Size
          ZONES: !Join ['+', !Ref Zones]
          STACK: !Ref AWS::StackName
          QUEUE: !Ref Queue
  Queue: {Type: AWS::SQS::Queue}
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {FunctionName: !Ref Function, EventSourceArn: !GetAtt Queue.Arn}
  Secret: {Type: AWS::SecretsManager::Secret, Properties: {Name: !Sub '${AWS::StackName}/tokens'}}
Outputs:
  FunctionName: {Value: !Ref Function}
  ApiId: {Value: !Ref Api}
  Url: {Value: !Sub 'wss://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/dev'}
  QueueUrl: {Value: !Ref Queue}
  Absent: {Condition: Never, Value: a}
";

/// A main template that nests the child with these lines added, and has these resources besides.
fn main(more: &str, resources: &str) -> String {
    format!(
        "Parameters:
  Zones: {{Type: CommaDelimitedList, Default: 'a, b'}}
Resources:
  Child:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: child/template.yaml
{more}
{resources}"
    )
}

/// The name of the stack that nests [`CHILD`].
fn child() -> String {
    nested_name("tidings-dev", "Child")
}

fn with_child(more: &str, resources: &str) -> Files<'static> {
    Files::new(&[("template.yaml", &main(more, resources)), ("child/template.yaml", CHILD)])
}

#[test]
fn parameters_go_in_and_beat_what_a_template_sets_for_local_runs() {
    let files = with_child("      Parameters: {Size: huge, Zones: !Ref Zones}", "");
    let stack = files.stack();
    let environment = &stack.functions["Child/Function"].environment;
    assert_eq!(
        json!(environment),
        json!({
            "COLOUR": "blue",
            "SIZE": "huge",
            "ZONES": "a+b",
            "STACK": child(),
            "QUEUE": named_in(&child(), "http://127.0.0.1:3030/123456789012/<SQS::Queue Queue>"),
        })
    );
    assert_eq!(json!(stack.dev_parameters), json!({"Child/Colour": "blue"}));
    let region = files.load_with(&[("AWS::Region", "eu-west-1")]).unwrap();
    let arn = named_in(&child(), "arn:aws:sqs:eu-west-1:123456789012:<SQS::Queue Queue>");
    assert_eq!(region.queues["Child/Queue"].arn, arn);
}

#[test]
fn everything_of_a_nested_stack_has_a_path_and_code_where_its_template_is() {
    let files = with_child("", "");
    let stack = files.stack();
    let function = &stack.functions["Child/Function"];
    let name = named_in(&child(), "<Serverless::Function Function>");
    assert_eq!((function.name.clone(), function.binary.as_deref()), (name, Some("notifier")));
    assert_eq!(function.code.as_deref(), Some(&*files.path().join("child/..")));
    assert_eq!(function.template.as_deref(), Some(&*files.path().join("child/template.yaml")));
    let route = &stack.apis["Child/Api"].routes["$connect"];
    let expected = Integration::Lambda { function: "Child/Function".to_owned(), timeout_ms: 29_000 };
    assert_eq!(route.integration, expected);
    assert_eq!(stack.event_sources["Child/Mapping"].function, "Child/Function");
    assert_eq!(stack.secrets["Child/Secret"].name, format!("{}/tokens", child()));
    let templates = ["template.yaml", "child/template.yaml"].map(|file| files.path().join(file));
    assert_eq!(stack.templates, templates);
    assert_eq!(stack.notes, []);
}

#[test]
fn outputs_come_out() {
    let files = with_child(
        "",
        "  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !GetAtt Child.Outputs.FunctionName
      EventSourceArn: !GetAtt Table.StreamArn
      StartingPosition: LATEST
  Function:
    Type: AWS::Serverless::Function
    Properties:
      Environment:
        Variables: {URL: !Sub '${Child.Outputs.Url}', QUEUE: !GetAtt [Child, Outputs.QueueUrl], STACK: !Ref Child}
",
    );
    let stack = files.stack();
    let mapping = &stack.event_sources["Mapping"];
    assert_eq!(mapping.function, "Child/Function");
    assert!(
        matches!(&mapping.source, Source::Table { name, .. } if *name == named("<DynamoDB::Table Table>")),
        "{mapping:?}"
    );
    let id = &stack.apis["Child/Api"].api_id;
    let environment = &stack.functions["Function"].environment;
    assert_eq!(environment["URL"], format!("wss://{id}.execute-api.us-east-1.amazonaws.com/dev"));
    let queue = named_in(&child(), "http://127.0.0.1:3030/123456789012/<SQS::Queue Queue>");
    assert_eq!(environment["QUEUE"], queue);
    assert!(environment["STACK"].contains(&format!(":stack/{}/", child())), "{}", environment["STACK"]);
    assert_eq!(stack.functions.keys().collect::<Vec<_>>(), ["Function", "Child/Function"]);
}

#[test]
fn a_stack_may_need_what_a_later_one_puts_out() {
    let more = "      Parameters: {Colour: !GetAtt Other.Outputs.FunctionName}\n  Other:\n    Type: \
                AWS::Serverless::Application\n    Properties: {Location: ./child/template.yaml}";
    let stack = with_child(more, "").stack();
    let other = named_in(&nested_name("tidings-dev", "Other"), "<Serverless::Function Function>");
    assert_eq!(stack.functions["Child/Function"].environment["COLOUR"], other);
    assert_eq!(stack.functions.len(), 2);
    assert_ne!(stack.apis["Child/Api"].api_id, stack.apis["Other/Api"].api_id);
    let circle = "      Parameters: {Colour: !GetAtt Other.Outputs.FunctionName}\n  Other:\n    Type: \
                  AWS::CloudFormation::Stack\n    Properties:\n      TemplateURL: child/template.yaml\n      \
                  Parameters: {Colour: !GetAtt Child.Outputs.Url}";
    let error = with_child(circle, "").error();
    assert_eq!(error, "template.yaml:4: the nested stack `Child` depends on itself");
}

#[test]
fn several_levels_deep_paths_start_at_each_template() {
    let middle = "
Parameters: {Shade: {Type: String}}
Resources:
  Deep:
    Type: AWS::CloudFormation::Stack
    Properties: {TemplateURL: ../child/template.yaml, Parameters: {Colour: !Sub 'dark ${Shade}'}}
Outputs: {Url: {Value: !GetAtt Deep.Outputs.Url}}
";
    let main = "
Resources:
  Middle:
    Type: AWS::CloudFormation::Stack
    Properties: {TemplateURL: middle/template.yaml, Parameters: {Shade: green}}
  Function:
    Type: AWS::Serverless::Function
    Properties: {Environment: {Variables: {URL: !GetAtt Middle.Outputs.Url}}}
";
    let files =
        Files::new(&[("template.yaml", main), ("middle/template.yaml", middle), ("child/template.yaml", CHILD)]);
    let stack = files.stack();
    let function = &stack.functions["Middle/Deep/Function"];
    let deep = nested_name(&nested_name("tidings-dev", "Middle"), "Deep");
    assert_eq!(
        (function.name.as_str(), function.environment["COLOUR"].as_str()),
        (&*named_in(&deep, "<Serverless::Function Function>"), "dark green")
    );
    assert_eq!(function.environment["STACK"], deep);
    assert_eq!(function.code.as_deref(), Some(&*files.path().join("middle/../child/..")));
    let id = &stack.apis["Middle/Deep/Api"].api_id;
    assert!(stack.functions["Function"].environment["URL"].contains(id.as_str()));
}

#[test]
fn routes_of_another_template_belong_to_the_api_that_they_name() {
    let stack = with_child(
        "",
        "  Function: {Type: AWS::Serverless::Function}
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !GetAtt Child.Outputs.ApiId, RouteKey: chat, Target: !Sub 'integrations/${Behind}'}
  Behind:
    Type: AWS::ApiGatewayV2::Integration
    Properties: {ApiId: !GetAtt Child.Outputs.ApiId, IntegrationType: AWS_PROXY, IntegrationUri: !GetAtt Function.Arn}
",
    )
    .stack();
    let expected = Integration::Lambda { function: "Function".to_owned(), timeout_ms: 29_000 };
    assert_eq!(stack.apis["Child/Api"].routes["chat"].integration, expected);
}

#[test]
fn unknown_outputs_and_parameters_are_faults_with_their_place() {
    // Nothing evaluates a policy here; AWS would.
    let policy = "  Policy:
    Type: AWS::IAM::Policy
    Properties:
      Roles: [!GetAtt Child.Outputs.Role]
";
    let known = "it has `FunctionName`, `ApiId`, `Url`, `QueueUrl`, `Absent`";
    assert_eq!(
        with_child("", policy).error(),
        format!("template.yaml:12: `Child.Outputs.Role`: child/template.yaml has no output `Role`; {known}")
    );
    assert_eq!(
        with_child("      Parameters:\n        Taste: sweet", "").error(),
        "template.yaml:9: `Child` passes the parameter `Taste`, which child/template.yaml does not have; it has `Colour`, \
         `Size`, `Zones`"
    );
    let function = |variable: &str| {
        format!(
            "  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Environment:\n        Variables:\n          A: {variable}\n"
        )
    };
    assert_eq!(
        with_child("", &function("!GetAtt Child.Outputs.Absent")).error(),
        "child/template.yaml:38: the output `Absent` is used, but its condition `Never` does not hold"
    );
    assert_eq!(
        with_child("", &function("!GetAtt Child.Arn")).error(),
        "template.yaml:14: `Child.Arn`: a nested stack has only outputs, `Child.Outputs.NAME`"
    );
}

#[test]
fn values_that_a_nested_template_does_not_take_are_told_with_who_gives_them() {
    assert_eq!(
        with_child("      Parameters: {Size: tiny}", "").error(),
        "child/template.yaml:5: the parameter `Size` must be one of `small`, `large`, `huge`, not `tiny`; give `Size` in \
         `Parameters` of `Child` in template.yaml, or pass `--parameter Child/Size=VALUE`"
    );
    let bare = "Parameters: {A: {Type: String}}\nResources: {}\n";
    let files = Files::new(&[("template.yaml", &main("", "")), ("child/template.yaml", bare)]);
    assert_eq!(
        files.error(),
        "child/template.yaml:1: the parameter `A` has no value; give `A` in `Parameters` of `Child` in template.yaml, \
         or pass `--parameter Child/A=VALUE`"
    );
}

#[test]
fn the_caller_reaches_parameters_of_nested_stacks_whatever_these_are_passed() {
    let files = Files::new(&[
        ("template.yaml", &main("      Parameters: {Colour: green, Size: tiny}", "")),
        ("child/template.yaml", CHILD),
    ]);
    let stack = files.load_with(&[("Child/Colour", "grey"), ("Child/Size", "huge")]).unwrap();
    assert_eq!(stack.functions["Child/Function"].environment["COLOUR"], "grey");
    let error = |given: &[(&str, &str)]| files.short(&files.load_with(given).expect_err("a fault").to_string());
    assert_eq!(
        error(&[("Child/Size", "small"), ("Child/Taste", "sweet")]),
        "template.yaml: there is no parameter `Taste` in child/template.yaml; it has `Colour`, `Size`, `Zones`"
    );
    assert_eq!(
        error(&[("Child/Size", "small"), ("Chidl/Size", "small")]),
        "template.yaml: there is no nested stack `Chidl` for the parameter `Chidl/Size`; there are `Child`"
    );
}

#[test]
fn a_template_that_is_not_there_or_nests_itself_is_told() {
    let files = Files::new(&[("template.yaml", &main("", ""))]);
    assert_eq!(
        files.error(),
        "template.yaml:7: `TemplateURL` of `Child` names child/template.yaml, which does not exist; a path is relative to \
         the folder of the template that it stands in"
    );
    let back = "Resources:\n  Again: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: ../template.yaml}}\n";
    let files = Files::new(&[("template.yaml", &main("", "")), ("child/template.yaml", back)]);
    assert_eq!(
        files.error(),
        "child/template.yaml:2: `TemplateURL` of `Again` goes round in a circle: template.yaml nests child/template.yaml nests \
         template.yaml; break it"
    );
    let files = Files::new(&[("template.yaml", &main("", "")), ("child/template.yaml", "a: [")]);
    assert!(files.error().starts_with("child/template.yaml:1: this is not valid YAML"), "{}", files.error());
    let files = Files::new(&[("template.yaml", &main("", "")), ("child/template.yaml/x", "")]);
    assert!(files.error().ends_with("cannot be read as a template: it is no file"), "{}", files.error());
}

#[test]
fn what_is_elsewhere_is_noted_and_hurts_only_what_needs_it() {
    let remote = |more: &str| {
        format!(
            "  Remote: {{Type: AWS::CloudFormation::Stack, Properties: {{TemplateURL: https://example.org/a.yaml}}}}
  Stored: {{Type: AWS::Serverless::Application, Properties: {{Location: {{ApplicationId: a, SemanticVersion: 1.0.0}}}}}}
{more}"
        )
    };
    let files = with_child("      Parameters: {Zones: !GetAtt Remote.Outputs.Zones}", &remote(""));
    let noted = "template.yaml:9: `Remote` does not run locally: its template is at https://example.org/a.yaml, and only \
                 local files are read";
    // The child's function needs the parameter.
    let reason = "`Remote.Outputs.Zones` is not known locally, because its template is at https://example.org/a.yaml, and \
                  only local files are read; use a parameter that has a value for local runs";
    assert_eq!(files.error(), format!("template.yaml:8: {reason}"));

    let unused = CHILD.replace("          ZONES: !Join ['+', !Ref Zones]\n", "");
    let parent = main("      Parameters: {Zones: !GetAtt Remote.Outputs.Zones}", &remote(""));
    let files = Files::new(&[("template.yaml", &parent), ("child/template.yaml", &unused)]);
    let notes = files.notes(&files.stack());
    assert_eq!(notes[0], noted);
    assert!(notes[1].starts_with("template.yaml:10: `Stored` does not run locally: its template is in the Serverless"));
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn notes_name_the_file_that_they_are_about_once() {
    let child = format!("{CHILD}Transform: My::Macro\n");
    let more = "  Again: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: child/template.yaml}}";
    let files = Files::new(&[("template.yaml", &main(more, "")), ("child/template.yaml", &child)]);
    let stack = files.stack();
    assert_eq!(files.notes(&stack), ["child/template.yaml:39: the macro `My::Macro` does not run locally"]);
    assert_eq!(stack.functions.len(), 2);
    assert_eq!(stack.templates.len(), 2);
}

#[test]
fn one_name_for_two_resources_is_told() {
    let child = CHILD
        .replace("  Queue: {Type: AWS::SQS::Queue}", "  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: jobs}}");
    let more = "  Again: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: child/template.yaml}}";
    let files = Files::new(&[("template.yaml", &main(more, "")), ("child/template.yaml", &child)]);
    assert_eq!(
        files.error(),
        "child/template.yaml:28: `Again/Queue` is called `jobs`, as `Child/Queue` is: give one of them another name"
    );
}

#[test]
fn a_stack_whose_condition_does_not_hold_is_not_even_looked_for() {
    let stack = "
Conditions: {Never: !Equals [a, b]}
Resources:
  Absent: {Type: AWS::CloudFormation::Stack, Condition: Never, Properties: {TemplateURL: nowhere.yaml}}
  Child: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: child/template.yaml}}
";
    let files = Files::new(&[("template.yaml", stack), ("child/template.yaml", CHILD)]);
    assert_eq!(files.stack().notes, []);
}
