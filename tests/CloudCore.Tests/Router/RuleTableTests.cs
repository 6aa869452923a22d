using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Router;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests.Router;

/// <summary>Rules as they can be used, and the router's messages.</summary>
[Trait("Category", "Unit")]
public sealed class RuleTableTests
{
    private static readonly JsonObject[] s_ends =
    [
        End("rest", "rest"), End("bus", "eventbus"), End("service", "servicebus", """{"service_port": "8080"}"""), End("portless", "servicebus"), End("odd", "carrier-pigeon"),
    ];

    [Fact]
    public void Longest_path_wins_and_what_is_beyond_it_is_kept()
    {
        var table = Build(Rule("a", "rest", """{"path": "/a"}""", "bus", """{"topic": "t"}"""), Rule("ab", "rest", """{"path": "a/b/"}""", "bus", """{"topic": "u"}"""));

        Assert.Equal(("ab", "c/d"), Found(table, "a/b/c/d"));
        Assert.Equal(("ab", ""), Found(table, "a/b"));
        Assert.Equal(("a", "bc"), Found(table, "a/bc"));
        Assert.Null(table.FindRest("default", "ab"));
        Assert.Null(table.FindRest("other", "a"));
    }

    [Fact]
    public void Path_is_compared_unescaped_and_passed_on_as_it_came()
    {
        var table = Build(Rule("a", "rest", """{"path": "/a b/%20"}""", "bus", """{"topic": "t"}"""));

        Assert.Equal(("a", "x%3Fy%2Fz"), Found(table, "a%20b/%2520/x%3Fy%2Fz"));
        Assert.Null(table.FindRest("default", "a%20b/%20"));
        Assert.Null(table.FindRest("default", "a%20b%2F%2520"));
    }

    [Theory]
    [InlineData("/n/ns/p/a", "n ns p/a")]
    [InlineData("/n/ns/p/a?b=../c", "n ns p/a")]
    [InlineData("/n/ns/", "n ns ")]
    [InlineData("/n/ns/p%3Fa%23b%2525/c:d@e+f", "n ns p%3Fa%23b%2525/c:d@e+f")]
    [InlineData("/n/ns/p//a...b/..c", "n ns p//a...b/..c")]
    [InlineData("http://cloud:9443/n/ns/p/a", "n ns p/a")]
    [InlineData("/n/ns", "404")]
    [InlineData("*", "404")]
    [InlineData("/n/ns/p/../a", "400")]
    [InlineData("/n/ns/p/./a", "400")]
    [InlineData("/n/ns/p/%2e%2E/a", "400")]
    [InlineData("/n/ns/p/..%5C..%5Cadmin", "400")]
    [InlineData("/n/ns/p/..%2F..%2Fadmin", "400")]
    [InlineData(@"/n/ns/p\a", "400")]
    [InlineData("/n/ns/p%00", "400")]
    [InlineData("/n/ns/p%0D%0AHost:x", "400")]
    [InlineData("/n/ns/p#a", "400")]
    [InlineData("/n/ns/p a", "400")]
    public void Path_of_a_request_stays_below_the_rules_own(string target, string expected)
    {
        var path = RestPath.Read(target, out var refusal);

        Assert.Equal(expected, path is null ? $"{refusal!.Status}" : $"{path.Node} {path.Namespace} {path.Rest}");
    }

    [Fact]
    public void Topic_of_a_rule_stands_below_its_namespace()
    {
        var table = Build(Rule("up", "bus", """{"topic": "/line/+/temp", "node_name": "edge-1"}""", "rest", """{"resource": "http://a/b"}"""));

        Assert.Equal(["default/line/+/temp"], table.TopicsOf("edge-1"));
        Assert.Single(table.FindUpload("edge-1", "default/line/4/temp"));
        Assert.Empty(table.FindUpload("edge-1", "default/line/4/5/temp"));
        Assert.Empty(table.FindUpload("edge-2", "default/line/4/temp"));
        Assert.Empty(table.TopicsOf("edge-2"));
    }

    [Theory]
    [InlineData("a/#", "a", true)]
    [InlineData("a/#", "a/b/c", true)]
    [InlineData("a/+", "a", false)]
    [InlineData("a/+/c", "a//c", true)]
    [InlineData("#", "$SYS/x", false)]
    [InlineData("a/b", "a/b/c", false)]
    public void Filters_match_as_in_MQTT(string filter, string topic, bool expected) => Assert.Equal(expected, RuleTable.Matches(filter, topic));

    [Theory]
    [InlineData("none", "{}", "rest", "{}", "its source, RuleEndpoint 'none', is not there")]
    [InlineData("odd", "{}", "rest", "{}", "is of type 'carrier-pigeon'; it can be rest, eventbus or servicebus")]
    [InlineData("bus", """{"topic": "t", "node_name": "n"}""", "service", """{"path": "p"}""", "from eventbus to servicebus there is no way")]
    [InlineData("rest", "{}", "bus", """{"topic": "t"}""", "spec.sourceResource has no 'path'")]
    [InlineData("bus", """{"topic": "t"}""", "rest", """{"resource": "http://a"}""", "spec.sourceResource has no 'node_name'")]
    [InlineData("rest", """{"path": "p"}""", "bus", """{"topic": "t/#"}""", "has a wildcard")]
    [InlineData("rest", """{"path": "p"}""", "portless", """{"path": "p"}""", "has no spec.properties.service_port")]
    [InlineData("bus", """{"topic": "t", "node_name": "n"}""", "rest", """{"resource": "ftp://a"}""", "'ftp://a' is not a URL")]
    public void Rule_that_cannot_be_used_says_why_and_the_others_go_on(string source, string sourceResource, string target, string targetResource, string problem)
    {
        var table = Build(Rule("bad", source, sourceResource, target, targetResource), Rule("good", "rest", """{"path": "p"}""", "rest", """{"resource": "http://a"}"""));

        Assert.Contains(problem, table.Problems[("default", "bad")], StringComparison.Ordinal);
        Assert.Equal("good", table.Routes.Single().Name);
    }

    [Fact]
    public void Publish_has_the_bare_topic_and_a_call_its_port_and_path()
    {
        var table = Build(Rule("p", "rest", """{"path": "p"}""", "bus", """{"topic": "down/"}"""), Rule("s", "rest", """{"path": "s"}""", "service", """{"path": "/api"}"""));
        var escaped = new HttpCall("PUT", "a%20b%3Fc", "", [], []);
        Assert.Equal("down/a b?c", RouterMessages.Publish(TimeProvider.System, table.Routes[0], escaped).Resource);
        Assert.Equal("8080:/api/a%20b%3Fc", RouterMessages.Call(TimeProvider.System, table.Routes[1], escaped).Resource);

        var call = new HttpCall("PUT", "x", "?y=1", [KeyValuePair.Create("A", "1"), KeyValuePair.Create("A", "2"), KeyValuePair.Create("Host", "h")], "hé"u8.ToArray());

        var publish = RouterMessages.Publish(TimeProvider.System, table.Routes[0], call);
        Assert.Equal(("router_eventbus", "user", "publish", "down/x", "\"hé\""), (publish.Source, publish.Group, publish.Operation, publish.Resource, Encoding.UTF8.GetString(publish.Content.Span)));

        var request = RouterMessages.Call(TimeProvider.System, table.Routes[1], call);
        Assert.Equal(("router_servicebus", "user", "PUT", "8080:/api/x?y=1"), (request.Source, request.Group, request.Operation, request.Resource));
        Assert.Equal("""{"header":{"A":["1","2"]},"body":"aMOp","method":"PUT","url":""}""", Encoding.UTF8.GetString(request.Content.Span));
    }

    [Theory]
    [InlineData("""{"header":{"X":["1"]},"status_code":201,"body":"b2s="}""", "201 ok X=1")]
    [InlineData("""{"StatusCode":1}""", "its status_code is none of HTTP's")]
    [InlineData("""{"status_code":200,"body":"%"}""", "its body is not base64")]
    [InlineData("[]", "")]
    public void Answer_of_a_service_is_read_whatever_it_is(string json, string expected)
    {
        var reply = RouterMessages.ReadReply(new Message { Id = "1", Content = Encoding.UTF8.GetBytes(json) }, out var error);

        var text = reply is null ? error : $"{reply.Status} {Encoding.UTF8.GetString(reply.Body)} {string.Join(' ', reply.Headers.Select(header => $"{header.Key}={header.Value}"))}";
        Assert.StartsWith(expected, text, StringComparison.Ordinal);
        Assert.NotEmpty(text);
    }

    [Fact]
    public void Topic_of_an_upload_is_its_resource_or_base64url_of_it()
    {
        Assert.Equal("default/ÿ?>", RouterMessages.TopicOf("default/ÿ?>"));
        Assert.Equal("default/ÿ?>", RouterMessages.TopicOf(Convert.ToBase64String("default/ÿ?>"u8).Replace('+', '-').Replace('/', '_')));
        Assert.Null(RouterMessages.TopicOf("no base64!"));
    }

    private static (string, string)? Found(RuleTable table, string path) => table.FindRest("default", path) is var (route, beyond) ? (route.Name, beyond) : null;

    private static RuleTable Build(params JsonObject[] rules) => RuleTable.Build(rules, s_ends);

    private static JsonObject End(string name, string type, string properties = "{}") => new()
    {
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default" },
        ["spec"] = new JsonObject { ["ruleEndpointType"] = type, ["properties"] = JsonNode.Parse(properties) },
    };

    private static JsonObject Rule(string name, string source, string sourceResource, string target, string targetResource) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["uid"] = name },
        ["spec"] = new JsonObject
        {
            ["source"] = source, ["sourceResource"] = JsonNode.Parse(sourceResource), ["target"] = target, ["targetResource"] = JsonNode.Parse(targetResource),
        },
    };
}
