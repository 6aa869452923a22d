using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Configuration;
using Edge.Core.Configuration;
using Edge.Core.ServiceBus;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.ServiceBus;

/// <summary>HTTP of Rules at this edge, on real sockets.</summary>
[Trait("Category", "Devices")]
public sealed class ServiceBusTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly ConcurrentQueue<Message> _answers = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _running = [];

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var task in _running)
            await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    [Fact]
    public async Task Request_of_the_cloud_reaches_the_service_and_its_answer_the_cloud()
    {
        await using var peer = await HttpPeer.StartAsync();
        peer.Answer = request => (207, $"{request.Method} {request.Body}");
        var bus = await StartAsync();

        Assert.True(bus.TryTake(Call("1", "PUT", $"{peer.Port}:/api/x?y=1", """{"header":{"X-A":["1"],"Host":["evil"]},"body":"aGk=","method":"PUT","url":""}""")));

        var answer = await AnswerAsync("1");
        Assert.Equal(("servicebus", "user", "upload"), (answer.Source, answer.Group, answer.Operation));
        var content = JsonNode.Parse(answer.Content.Span)!;
        Assert.Equal((207, "PUT hi"), ((int)content["status_code"]!, Encoding.UTF8.GetString(Convert.FromBase64String((string)content["body"]!))));
        Assert.Equal("yes", (string)content["header"]!["X-Peer"]!.AsArray().Single()!);
        var request = peer.Requests.Single();
        Assert.Equal(("/api/x?y=1", "1", $"127.0.0.1:{peer.Port}"), (request.Path, request.Headers["X-A"], request.Headers["Host"]));
    }

    [Theory]
    [InlineData("no port", "{}", 400)]
    [InlineData("99999:/x", "{}", 400)]
    [InlineData("80@evil.example:/x", "{}", 400)]
    [InlineData("1:/x", """{"body":"%"}""", 400)]
    [InlineData("1:/x", "[", 400)]
    [InlineData("1:/x", "{}", 404)]
    public async Task What_cannot_be_called_is_answered_with_why(string resource, string content, int status)
    {
        var bus = await StartAsync();

        Assert.True(bus.TryTake(Call("1", "POST", resource, content)));

        var answer = JsonNode.Parse((await AnswerAsync("1")).Content.Span)!;
        Assert.Equal(status, (int)answer["status_code"]!);
        Assert.NotEmpty(Convert.FromBase64String((string)answer["body"]!));
    }

    [Fact]
    public async Task Application_reaches_the_url_of_a_rule_through_the_cloud_and_no_other()
    {
        var bus = await StartAsync();
        _uplink.Answer = message => message.Source == "servicebus" && message.Resource == "http://svc/x" ? JsonValue.Create("answer") : null;
        using var http = new HttpClient();

        var refused = await AskAsync(http, bus.Port, """{"method":"POST","targetURL":"http://svc/x","payload":"q"}""");
        Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
        Assert.Contains("no Rule for this node has this target_url", (string)refused.Json["msg"]!, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.BadRequest, (await AskAsync(http, bus.Port, "no json")).Status);
        Assert.Empty(_uplink.Requests);

        Assert.True(bus.TryTake(new Message { Id = "s", Source = Sources.RouterServiceBus, Group = Groups.User, Operation = Operations.Start, Resource = "http://svc/x" }));
        await Eventually.HoldsAsync("the URL is on the disk", () => _meta.ListLocal("rules-urls").ContainsKey("http://svc/x"));
        var clock = Stopwatch.StartNew();
        var answer = await AskAsync(http, bus.Port, """{"method":"POST","targetURL":"http://svc/x","payload":{"q":1}}""");
        while (answer.Status == HttpStatusCode.BadRequest && clock.Elapsed < s_patience)
            answer = await AskAsync(http, bus.Port, """{"method":"POST","targetURL":"http://svc/x","payload":{"q":1}}""");

        Assert.Equal((HttpStatusCode.OK, 200, "answer"), (answer.Status, (int)answer.Json["code"]!, (string)answer.Json["body"]!));
        var request = _uplink.Requests.Last();
        Assert.Equal(("user", "upload", """{"q":1}"""), (request.Group, request.Operation, Encoding.UTF8.GetString(MessageCodec.Unwrap(request.Content).Span)));
    }

    [Theory]
    [InlineData("server: everywhere", "modules.serviceBus.server: is 'everywhere', must be an IP address")]
    [InlineData("port: 70000", "modules.serviceBus.port: is 70000")]
    [InlineData("timeOut: 5", "modules.serviceBus.timeOut: is not a known key; did you mean 'timeout'?")]
    public void Wrong_settings_are_errors(string line, string expected)
    {
        var file = ConfigFile.Parse("test", $"modules:\n  serviceBus:\n    {line}", []);
        ServiceBusOptions.Read(file.Root.Section("modules").Section("serviceBus"));

        Assert.Contains(expected, Assert.Throws<ConfigException>(file.ThrowIfInvalid).Message, StringComparison.Ordinal);
    }

    private static Message Call(string id, string method, string resource, string content)
        => new() { Id = id, Source = Sources.RouterServiceBus, Group = Groups.User, Operation = method, Resource = resource, Content = Encoding.UTF8.GetBytes(content) };

    private static async Task<(HttpStatusCode Status, JsonNode Json)> AskAsync(HttpClient http, int port, string body)
    {
        using var answer = await http.PostAsync(new Uri($"http://127.0.0.1:{port}/"), new StringContent(body));
        return (answer.StatusCode, JsonNode.Parse(await answer.Content.ReadAsStringAsync())!);
    }

    private async Task<Message> AnswerAsync(string parent)
    {
        await Eventually.HoldsAsync($"the answer to {parent}", () => _answers.Any(one => one.ParentId == parent));
        return _answers.First(one => one.ParentId == parent);
    }

    private async Task<ServiceBusModule> StartAsync()
    {
        var options = new EdgeCoreOptions { NodeName = "edge-1", ServiceBus = new ServiceBusOptions { Enable = true, Server = new IPEndPoint(IPAddress.Loopback, 0) } };
        var services = new EdgeServices(options, _meta, _uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance)
        {
            Answer = (message, _) =>
            {
                _answers.Enqueue(message);
                return ValueTask.CompletedTask;
            },
        };
        var listening = new TaskCompletionSource();
        var bus = new ServiceBusModule(services) { Listening = listening.SetResult };
        _running.Add(bus.RunAsync(_stop.Token));
        await listening.Task.WaitAsync(s_patience);
        return bus;
    }
}
