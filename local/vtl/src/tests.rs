//! Templates as API Gateway's users write them.

use serde_json::json;

use super::*;

const BODY: &str = r#"{"action":"say","text":"it's \"so\"","n":2,"tags":["a","b"],"deep":{"x":1},"my-name":"m"}"#;

fn rendered(template: &str) -> Result<String, Error> {
    rendered_with(template, BODY)
}

fn rendered_with(template: &str, body: &str) -> Result<String, Error> {
    let context =
        json!({"connectionId": "c=", "authorizer": {"principalId": "u1"}, "requestTimeEpoch": 1_700_000_000_000_i64});
    let stage_variables = [("table".to_owned(), "rows".to_owned())].into_iter().collect();
    let query = [("token".to_owned(), "t".to_owned())].into_iter().collect();
    let headers = [("X-Own".to_owned(), "h".to_owned())].into_iter().collect();
    let parameters = Parameters { query, headers, ..Parameters::default() };
    let input = Input { body, context: &context, stage_variables: &stage_variables, parameters: &parameters };
    Template::parse(template)?.render(&input)
}

#[track_caller]
fn check(template: &str, expected: &str) {
    assert_eq!(rendered(template).as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn check_error(template: &str, line: usize, words: &str) {
    let error = rendered(template).expect_err(template);
    assert!(error.line == line && error.message.contains(words), "{template}: {error}");
}

#[test]
fn the_variables_of_api_gateway_are_filled_in() {
    check(r#"{"c":"$context.connectionId","b":$input.body}"#, &format!(r#"{{"c":"c=","b":{BODY}}}"#));
    check("$context.authorizer.principalId/${context.connectionId}x", "u1/c=x");
    check("$context.requestTimeEpoch", "1700000000000");
    check("${context.missing}-$!context.missing.deeper.", "-.");
    // A name may have a dash in it, also at its end.
    check("$context.connectionId-", "");
    check("$stageVariables.table $stageVariables['table'] ${stageVariables.get('table')}", "rows rows rows");
    check("$input.params('token') $input.params('x-own') $input.params('none').", "t h .");
    check("$input.params().querystring.token $input.params().header.get('X-Own')", "t h");
}

#[test]
fn the_body_is_reached_by_json_paths() {
    check("$input.json('$')", BODY);
    check("$input.json('$.text')", r#""it's \"so\"""#);
    check("$input.json('$.deep') $input.json('$.tags') $input.json('$.n')", r#"{"x":1} ["a","b"] 2"#);
    check("$input.json('$.missing')", "\"\"");
    check("$input.path('$.text')", "it's \"so\"");
    check("$input.path('$.tags') $input.path('$.deep') $input.path('$.tags[1]')", "[a, b] {x=1} b");
    check("$input.path('$.missing')|", "|");
    check("$input.path('$').my-name $input.path('$.my-name')", "m m");
    check("$input.json('$.tags[*]')", r#"["a","b"]"#);
    assert_eq!(rendered_with("$input.body|$input.json('$.a')|$input.path('$.a')", "hi").as_deref(), Ok("hi|\"\"|"));
}

#[test]
fn util_escapes_encodes_and_parses() {
    check("$util.escapeJavaScript($input.path('$.text'))", r#"it\'s \"so\""#);
    check("$util.escapeJavaScript('ü/\u{1F600}')", r"\u00FC\/\uD83D\uDE00");
    check("$util.base64Encode('hi') $util.base64Decode('aGk=')", "aGk= hi");
    check("$util.urlEncode('a b&c=ü') $util.urlDecode('a+b%26c%3D%C3%BC')", "a+b%26c%3D%C3%BC a b&c=ü");
    check("$util.parseJson('{\"a\":[1,2]}').a[1]", "2");
    check(
        "$util.escapeJavaScript($input.body).replaceAll(\"\\\\'\",\"'\")",
        &BODY.replace('\\', "\\\\").replace('"', "\\\""),
    );
}

#[test]
fn variables_are_set_and_conditions_choose() {
    check("#set($x = 1)#set($y = \"${x}-$context.connectionId\")$y", "1-c=");
    check("#set( $root = $input.path('$') )\n{\n  \"n\": $root.n\n}", "{\n  \"n\": 2\n}");
    check("#if($input.path('$.n') == 2)two#elseif(true)other#{else}none#end", "two");
    check("#if($input.path('$.n') > 2)more#elseif($input.path('$.n') >= 2 && !$nothing)same#end", "same");
    check("#if($nothing)a#{else}b#end", "b");
    check("#if($input.path('$.text') != '')text#end#if(\"\")empty is true#end", "textempty is true");
    check("#if($input.path('$.action').equals('say') and not false)yes#end", "yes");
    check("#set($m = {'a': 1, \"b\": [1, 'x']})$m.a $m.b[1] $m.size() #set($m.c = 3)$m.c", "1 x 2 3");
    check("#set($l = [])#set($ok = $l.add('a'))$l.add('b') $l.size() $l", "true 2 [a, b]");
    check("#set($x = 5 + 2 * 3 - 4 / 2 % 3)$x #set($x = -$x)$x #set($x = 'a' + 1)$x", "9 -9 a1");
    check("#set($x = 1)#set($x = $nothing)$x", "1");
}

#[test]
fn loops_go_over_lists_maps_and_ranges() {
    check("[#foreach($tag in $input.path('$.tags'))\"$tag\"#if($foreach.hasNext),#end#end]", r#"["a","b"]"#);
    check("#foreach($n in [1..3])$velocityCount:$n/$foreach.index #end", "1:1/0 2:2/1 3:3/2 ");
    check("#foreach($n in [3..1])$n#end", "321");
    check("#foreach($key in $input.params().header.keySet())$key=$input.params().header.get($key)#end", "X-Own=h");
    check("#foreach($e in $input.path('$.deep').entrySet())$e.key=$e.value#end", "x=1");
    check("#foreach($n in [1,2,3])#if($n == 2)#break#end$n#end!", "1!");
    check("#foreach($n in $nothing)$n#end#foreach($n in [1,2])$n#stop x#end y", "1");
    check("#set($n = 'before')#foreach($n in [1])$n#end$n", "1before");
}

#[test]
fn text_stays_text() {
    check("$5 $ a#b ## gone\n#c #* also\ngone *#d \\$x \\#if", "$5 $ a#b #c d $x #if");
    check("$unknown ${unknown.part} $!unknown.", "$unknown ${unknown.part} .");
    check("#[[ $input.body #if ]]#", " $input.body #if ");
    check("{\n  #if(true)\n  \"a\": 1\n  #end\n}\n", "{\n  \"a\": 1\n}\n");
    check("{\n  #if(false)\n  \"a\": 1\n  #else\n  \"b\": 2\n  #end\n  #set($x = 1)\n}", "{\n  \"b\": 2\n}");
}

#[test]
fn texts_have_the_methods_of_java() {
    for (call, expected) in [
        ("length()", "9"),
        ("toUpperCase()", "A,B,C-D E"),
        ("replace('a','x')", "x,b,C-d e"),
        ("replaceAll('([a-c])','<$1>')", "<a>,<b>,C-d e"),
        ("split(',').size()", "3"),
        ("split(',')[2]", "C-d e"),
        ("substring(2)", "b,C-d e"),
        ("substring(2, 3)", "b"),
        ("indexOf('C')", "4"),
        ("contains('C-')", "true"),
        ("startsWith('b')", "false"),
        ("matches('.*e')", "true"),
        ("isEmpty()", "false"),
        ("concat('!')", "a,b,C-d e!"),
    ] {
        check(&format!("#set($t = 'a,b,C-d e')$t.{call}"), expected);
    }
}

#[test]
fn an_error_names_its_line() {
    check_error("a\n#if($x)\nb", 2, "this `#if` has no `#end`");
    check_error("a\n#end", 2, "`#end` has nothing to end");
    check_error("#if(true)\na#else\nb#else c#end", 3, "comes after the `#else`");
    check_error("\n\n#set(x = 1)", 3, "`#set` needs a variable");
    check_error("#set($x 1)", 1, "`#set` needs `=`");
    check_error("\n#foreach($x of $y)#end", 2, "`#foreach` is written as");
    check_error("\n$input.json('$.a'", 2, "not closed with `)`");
    check_error("${input.body", 1, "is not closed with `}`");
    check_error("#if(true)\na#{else", 2, "`#{else` is not closed with `}`");
    check_error("#set($x = 'abc)", 1, "not closed with `'`");
    check_error("\n#parse('other')", 2, "`#parse` is not supported");
    check_error("\n$util.nothing(1)", 2, "there is no `$util.nothing`");
    check_error("a\n$input.nothing()", 2, "there is no `$input.nothing`");
    check_error("a\n$input.json('$[')", 2, "is no JSON path");
    check_error("a\n$context.connectionId.nothing()", 2, "a text has no method `nothing`");
    check_error("\n\n#if('a' > 1)#end", 3, "only numbers can be compared");
    check_error("\n$util.parseJson('{')", 2, "gets what is no JSON");
    check_error("\n#foreach($x in 5)#end", 2, "goes over lists and maps");
    check_error("#set($x = \"a\n$util.b(1)\")$x", 2, "there is no `$util.b`");
}

#[test]
fn no_template_runs_for_ever() {
    let nested = "#foreach($a in [1..1000])#foreach($b in [1..1000])x#end#end";
    assert!(rendered(nested).expect_err(nested).message.contains("too much work"));
    check_error("#set($a = [1..1000000000])", 1, "too much work");
    let doubling = format!("#set($x = 'xxxxxxxxxxxxxxxx'){}$x", "#set($x = $x + $x)".repeat(30));
    check_error(&doubling, 1, "grows longer");
    check_error(&"#if(true)".repeat(1000), 1, "levels deep");
    check_error(&format!("#set($x = {}", "(".repeat(1000)), 1, "levels deep");
    check("#set($l = [1])#set($ok = $l.add($l))#if($l.size() == 2)ok#end", "ok");
    assert!(rendered("#set($l = [1])#set($ok = $l.add($l))$l").unwrap().contains("..."));
}

#[test]
fn fuzz_templates() {
    let samples: [&[u8]; 3] = [
        b"#set($r = $input.path('$'))\n{\"a\": [#foreach($t in $r.tags)\"$t\"#if($foreach.hasNext),#end#end]}",
        b"#if($context.authorizer.principalId == \"u1\" && 1 + 2 * 3 > [1..5].size())${context.connectionId}#{else}x#end",
        b"$util.escapeJavaScript($input.json('$.text')).replaceAll(\"\\\\'\",\"'\") ## end",
    ];
    tidings_local_fuzz::run("vtl", &samples, |bytes, _| {
        let started = std::time::Instant::now();
        if let Err(error) = rendered(&String::from_utf8_lossy(bytes)) {
            assert!(!error.message.is_empty() && error.line > 0);
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "it took {:?}", started.elapsed());
    });
}
