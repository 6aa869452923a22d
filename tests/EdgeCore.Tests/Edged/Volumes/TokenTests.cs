using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.Edged.Volumes;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class TokenTests
{
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2026, 3, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly JsonObject _projection = (JsonObject)JsonNode.Parse("""{"path":"token","audience":"vault","expirationSeconds":7200}""")!;
    private int _given;

    [Theory]
    [InlineData(3600, 2880)]
    [InlineData(600, 480)]
    [InlineData(86400, 69120)]
    [InlineData(31536000, 86400)] // a year: a day old is old enough
    public void A_token_is_due_at_four_fifths_of_its_life_or_after_a_day(int lifetime, int due)
    {
        var made = _time.GetUtcNow();
        var token = new AccountToken("t", made.AddSeconds(lifetime), TimeSpan.FromSeconds(lifetime));
        Assert.Equal(made.AddSeconds(due), TokenRules.RefreshAt(token, TimeSpan.Zero));
        Assert.Equal(made.AddSeconds(due - 7), TokenRules.RefreshAt(token, TimeSpan.FromSeconds(7)));
    }

    [Fact]
    public async Task The_question_binds_the_token_to_the_pod_and_the_answer_serves_until_it_is_due()
    {
        _uplink.Answer = Give;
        var cache = Cache();
        var pod = Pod();
        var first = await cache.GetAsync(pod, _projection, default);
        Assert.Equal(("token-1", ""), (first.Token, first.Problem));
        var asked = Assert.Single(_uplink.Requests);
        Assert.Equal(("query", "meta", "default/serviceaccounttoken/robot"), (asked.Operation, asked.Group, asked.Resource));
        var body = JsonNode.Parse(asked.Content.Span)!;
        Assert.Equal(("Pod", "web", pod.Uid), (body.Text("spec", "boundObjectRef", "kind"), body.Text("spec", "boundObjectRef", "name"), body.Text("spec", "boundObjectRef", "uid")));
        Assert.Equal("vault", Assert.Single(body.Texts("spec", "audiences")));
        Assert.Equal(7200, body.Number(0, "spec", "expirationSeconds"));

        // 80 % of two hours, less up to ten seconds.
        Assert.InRange(first.RefreshAt, _time.GetUtcNow().AddSeconds(5750), _time.GetUtcNow().AddSeconds(5760));
        _time.Advance(TimeSpan.FromSeconds(5700));
        Assert.Equal("token-1", (await cache.GetAsync(pod, _projection, default)).Token);
        Assert.Single(_uplink.Requests);
        _time.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal("token-2", (await cache.GetAsync(pod, _projection, default)).Token);
    }

    [Fact]
    public async Task A_refresh_that_fails_leaves_the_token_and_is_tried_again_in_a_minute_also_after_it_expired()
    {
        _uplink.Answer = Give;
        var cache = Cache();
        var pod = Pod();
        await cache.GetAsync(pod, _projection, default);
        _uplink.Answer = null;
        _time.Advance(TimeSpan.FromSeconds(6000));
        var kept = await cache.GetAsync(pod, _projection, default);
        Assert.Equal(("token-1", "", _time.GetUtcNow().AddMinutes(1)), (kept.Token, kept.Problem, kept.RefreshAt));
        _time.Advance(TimeSpan.FromHours(1));
        var expired = await cache.GetAsync(pod, _projection, default);
        Assert.Equal(("token-1", "token expired and refresh failed: no answer within 10 s"), (expired.Token, expired.Problem));
        _uplink.Answer = Give;
        Assert.Equal(("token-2", ""), ((await cache.GetAsync(pod, _projection, default)) is var (token, _, problem) ? (token, problem) : default));
    }

    [Fact]
    public async Task A_token_that_is_due_when_it_comes_is_asked_for_again_in_ten_seconds()
    {
        // By this node's clock it has expired: one of the two clocks is wrong.
        _uplink.Answer = request =>
        {
            var answer = Give(request);
            answer["status"]!["expirationTimestamp"] = KubeObject.Time(_time.GetUtcNow().AddDays(-1));
            return answer;
        };
        var cache = Cache();
        var pod = Pod();
        var first = await cache.GetAsync(pod, _projection, default);
        Assert.Equal(("token-1", "", _time.GetUtcNow().AddSeconds(10)), (first.Token, first.Problem, first.RefreshAt));
        _time.Advance(TimeSpan.FromSeconds(9));
        await cache.GetAsync(pod, _projection, default);
        Assert.Single(_uplink.Requests);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("token-2", (await cache.GetAsync(pod, _projection, default)).Token);
    }

    [Fact]
    public async Task A_restart_without_the_cloud_has_the_tokens_and_a_pod_that_never_had_one_gets_none()
    {
        _uplink.Answer = Give;
        var pod = Pod();
        await Cache().GetAsync(pod, _projection, default);
        _uplink.IsConnected = false;
        _uplink.Answer = null;
        var restarted = Cache();
        _time.Advance(TimeSpan.FromMinutes(50));
        Assert.Equal(("token-1", ""), ((await restarted.GetAsync(pod, _projection, default)) is var (token, _, problem) ? (token, problem) : default));
        Assert.Single(_uplink.Requests);
        var other = await restarted.GetAsync(Pod(), _projection, default); // same name, another uid
        Assert.Equal((null, "failed to fetch token: the cloud is not connected"), (other.Token, other.Problem));
        var audience = (JsonObject)_projection.DeepClone();
        audience["audience"] = "elsewhere";
        Assert.Null((await restarted.GetAsync(pod, audience, default)).Token);
    }

    [Fact]
    public async Task The_clouds_refusal_is_the_reason_and_no_token_is_logged()
    {
        var log = new Lines();
        _uplink.Answer = _ => JsonNode.Parse("""{"ErrStatus":{"status":"Failure","reason":"NotFound","message":"serviceaccounts \"robot\" not found","code":404}}""");
        var cache = Cache(log);
        var answer = await cache.GetAsync(Pod(), _projection, default);
        Assert.Equal((null, "failed to fetch token: serviceaccounts \"robot\" not found"), (answer.Token, answer.Problem));
        _uplink.Answer = _ => JsonNode.Parse("""{"metadata":{},"spec":{},"status":{"token":"","expirationTimestamp":"x"}}""");
        Assert.Equal("failed to fetch token: the cloud's answer carries no token", (await cache.GetAsync(Pod(), _projection, default)).Problem);
        _uplink.Answer = Give;
        var pod = Pod();
        var given = await cache.GetAsync(pod, _projection, default);
        _uplink.Answer = null;
        _meta.LocalFailure = new Common.Storage.StoreException("disk full");
        _time.Advance(TimeSpan.FromHours(3));
        await cache.GetAsync(pod, _projection, default);
        Assert.Contains(log.Text, line => line.Contains("could not be renewed", StringComparison.Ordinal));
        Assert.DoesNotContain(log.Text, line => line.Contains(given.Token!, StringComparison.Ordinal));
        Assert.DoesNotContain("token-1", new AccountToken("token-1", _time.GetUtcNow(), TimeSpan.FromHours(1)).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tokens_go_with_their_pod()
    {
        _uplink.Answer = Give;
        var cache = Cache();
        var (gone, kept) = (Pod(), Pod());
        await cache.GetAsync(gone, _projection, default);
        await cache.GetAsync(kept, _projection, default);
        Assert.Equal(2, _meta.ListLocal("serviceaccounttoken").Count);
        await cache.ForgetAsync(gone.Uid, default);
        Assert.StartsWith(kept.Uid, Assert.Single(_meta.ListLocal("serviceaccounttoken")).Key, StringComparison.Ordinal);
        await Cache().ForgetOthersAsync(new HashSet<string>(), default);
        Assert.Empty(_meta.ListLocal("serviceaccounttoken"));
    }

    [Theory]
    [InlineData("""{}""", """{}""", null)]
    [InlineData("""{"runAsUser":1000}""", """{}""", 1000L)]
    [InlineData("""{"runAsUser":1000}""", """{"runAsUser":1001}""", null)]
    [InlineData("""{}""", """{"runAsUser":0}""", null)]
    public void The_user_of_a_volume_is_the_one_all_containers_run_as(string pod, string second, long? expected)
    {
        var json = (JsonObject)JsonNode.Parse("""{"metadata":{"namespace":"n","name":"p","uid":"u"},"spec":{"containers":[{"name":"a"},{"name":"b"}]}}""")!;
        json["spec"]!["securityContext"] = JsonNode.Parse(pod);
        json["spec"]!["containers"]![1]!["securityContext"] = JsonNode.Parse(second);
        Assert.True(PodDescription.TryRead(json, out var description, out _));
        Assert.Equal(expected, VolumeFiles.CommonUser(description));
    }

    private TokenCache Cache(ILogger? log = null) => new(_meta, new CloudQuery(_uplink, _time), _time, new Random(1), log ?? NullLogger.Instance);

    private JsonObject Give(Protocol.Messages.Message request)
    {
        var answer = (JsonObject)JsonNode.Parse(request.Content.Span)!;
        answer["status"] = new JsonObject
        {
            ["token"] = string.Create(CultureInfo.InvariantCulture, $"token-{Interlocked.Increment(ref _given)}"),
            ["expirationTimestamp"] = KubeObject.Time(_time.GetUtcNow().AddSeconds(answer.Number(0, "spec", "expirationSeconds"))),
        };
        return answer;
    }

    private static PodDescription Pod()
    {
        var json = PodsOnContainerdTests.Pod("web", """{"serviceAccountName":"robot","containers":[{"name":"main","image":"x"}]}""");
        Assert.True(PodDescription.TryRead(json, out var pod, out _));
        return pod;
    }

    private sealed class Lines : ILogger
    {
        public List<string> Text { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Text.Add(formatter(state, exception));
    }
}
