using System.Text;
using System.Text.Json.Nodes;
using Edge.Testing;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Edge.Kubernetes.Tests;

[Trait("Category", "Kubernetes")]
public sealed class KubeClientTests
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    [Theory]
    [InlineData(HttpProtocols.Http1, "HTTP/1.1")]
    [InlineData(HttpProtocols.Http2, "HTTP/2")]
    public async Task Requests_go_over_the_protocol_the_server_has_with_path_body_and_token(HttpProtocols protocols, string expected)
    {
        var seen = new List<string>();
        await using var peer = await KubernetesPeer.StartAsync(
            async context =>
            {
                using var body = new StreamReader(context.Request.Body);
                var text = await body.ReadToEndAsync();
                lock (seen)
                {
                    seen.Add($"{context.Request.Protocol} {context.Request.Method} {context.Request.Path}{context.Request.QueryString} {context.Request.ContentType} {context.Request.Headers.Authorization} {text}");
                }

                await context.Response.WriteAsync("""{"kind":"ConfigMap","metadata":{"name":"a"}}""");
            },
            protocols);
        using var client = new KubeClient(peer.Options with { Token = "secret" }, TimeProvider.System);
        var map = new JsonObject { ["metadata"] = new JsonObject { ["name"] = "a" } };
        await client.GetAsync(ResourceKind.ConfigMap, "x", "a", s_none);
        await client.CreateAsync(ResourceKind.ConfigMap, "x", map, s_none);
        await client.UpdateAsync(ResourceKind.ConfigMap, "x", map, "status", s_none);
        await client.PatchAsync(ResourceKind.ConfigMap, "x", "a", PatchKind.Merge, "{}"u8.ToArray(), null, s_none);
        await client.PatchAsync(ResourceKind.ConfigMap, "x", "a", PatchKind.Json, "[]"u8.ToArray(), null, s_none);
        await client.PatchAsync(ResourceKind.ConfigMap, "x", "a", PatchKind.Strategic, "{}"u8.ToArray(), "status", s_none);
        await client.DeleteAsync(ResourceKind.ConfigMap, "x", "a", null, s_none);
        await client.CreateSubresourceAsync(ResourceKind.Pod, "x", "a", "binding", map, s_none);
        var a = "/api/v1/namespaces/x/configmaps/a";
        Assert.Equal(
            [
                $"{expected} GET {a}  Bearer secret ",
                $$$"""{{{expected}}} POST /api/v1/namespaces/x/configmaps application/json Bearer secret {"metadata":{"name":"a"},"apiVersion":"v1","kind":"ConfigMap"}""",
                $$$"""{{{expected}}} PUT {{{a}}}/status application/json Bearer secret {"metadata":{"name":"a"},"apiVersion":"v1","kind":"ConfigMap"}""",
                $"{expected} PATCH {a} application/merge-patch+json Bearer secret {{}}",
                $"{expected} PATCH {a} application/json-patch+json Bearer secret []",
                $"{expected} PATCH {a}/status application/strategic-merge-patch+json Bearer secret {{}}",
                $"{expected} DELETE {a}  Bearer secret ",
                $$$"""{{{expected}}} POST /api/v1/namespaces/x/pods/a/binding application/json Bearer secret {"metadata":{"name":"a"}}""",
            ],
            seen);
    }

    [Fact]
    public async Task A_server_whose_certificate_another_authority_signed_is_refused()
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync("{}"));
        await using var other = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync("{}"));
        using var client = new KubeClient(peer.Options with { CertificateAuthorityPem = other.CaPem }, TimeProvider.System);
        var error = await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Node, null, "n", s_none));
        Assert.Equal(0, error.Code);
        Assert.Contains("certificate", error.Message, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task The_certificates_name_must_be_the_host_or_the_tls_server_name()
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync("{}"), name: "kube.example");
        using var wrong = new KubeClient(peer.Options, TimeProvider.System);
        await Assert.ThrowsAsync<KubeException>(() => wrong.GetAsync(ResourceKind.Node, null, "n", s_none));
        using var right = new KubeClient(peer.Options with { TlsServerName = "kube.example" }, TimeProvider.System);
        await right.GetAsync(ResourceKind.Node, null, "n", s_none);
        using var insecure = new KubeClient(peer.Options with { InsecureSkipTlsVerify = true }, TimeProvider.System);
        await insecure.GetAsync(ResourceKind.Node, null, "n", s_none);
    }

    [Fact]
    public async Task A_failure_status_becomes_an_exception_with_its_code_reason_and_message()
    {
        await using var peer = await KubernetesPeer.StartAsync(context =>
        {
            context.Response.StatusCode = context.Request.Path.Value!.EndsWith("html", StringComparison.Ordinal) ? 500 : 404;
            return context.Response.WriteAsync(context.Response.StatusCode == 500
                ? "<html>"
                : """{"kind":"Status","status":"Failure","reason":"NotFound","message":"pods \"a\" not found","code":404}""");
        });
        using var client = new KubeClient(peer.Options, TimeProvider.System);
        var error = await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Pod, "x", "a", s_none));
        Assert.Equal((404, "NotFound", "pods \"a\" not found"), (error.Code, error.Reason, error.Message));
        Assert.Equal("Failure", error.Status!.Text("status"));
        Assert.Null(await client.TryGetAsync(ResourceKind.Pod, "x", "a", s_none));
        var html = await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Pod, "x", "html", s_none));
        Assert.Equal((500, "InternalError"), (html.Code, html.Reason));
    }

    [Fact]
    public async Task A_request_that_the_server_puts_off_is_sent_again_after_the_time_it_named_and_at_most_five_times()
    {
        var requests = 0;
        var refusals = 2;
        var arrived = System.Threading.Channels.Channel.CreateUnbounded<int>();
        await using var peer = await KubernetesPeer.StartAsync(async context =>
        {
            var number = Interlocked.Increment(ref requests);
            if (number <= refusals)
            {
                context.Response.StatusCode = number % 2 == 0 ? 503 : 429;
                context.Response.Headers.RetryAfter = "7";
            }

            await context.Response.WriteAsync("{}");
            arrived.Writer.TryWrite(number);
        });
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        using var client = new KubeClient(peer.Options, time);
        var call = client.CreateAsync(ResourceKind.Node, null, [], s_none);
        await AdvanceUntilDoneAsync(call, time);
        await call;
        Assert.Equal(3, requests);
        Assert.InRange(time.GetUtcNow() - DateTimeOffset.UnixEpoch, TimeSpan.FromSeconds(14), TimeSpan.FromSeconds(59));

        (requests, refusals) = (0, int.MaxValue);
        call = client.CreateAsync(ResourceKind.Node, null, [], s_none);
        await AdvanceUntilDoneAsync(call, time);
        Assert.Contains((await Assert.ThrowsAsync<KubeException>(() => call)).Code, new[] { 429, 503 });
        Assert.Equal(KubeClient.TriesMax, requests);
    }

    // Time moves only while nothing else is due: a step a second, so that the deadline of 60 s is not run over by a slow machine's scheduling.
    private static async Task AdvanceUntilDoneAsync(Task call, ManualTimeProvider time)
    {
        for (var i = 0; i < 55 && !call.IsCompleted; i++)
        {
            await Task.WhenAny(call, Task.Delay(50));
            time.Advance(TimeSpan.FromSeconds(1));
        }

        await Task.WhenAny(call, Task.Delay(Wait.Net));
        Assert.True(call.IsCompleted, "the call did not end");
    }

    [Fact]
    public async Task A_list_is_read_page_by_page_and_from_the_start_when_the_token_expires()
    {
        var seen = new List<string>();
        await using var peer = await KubernetesPeer.StartAsync(context =>
        {
            var next = context.Request.Query["continue"].ToString();
            lock (seen)
            {
                seen.Add($"{context.Request.Query["limit"]}/{next}/{context.Request.Query["labelSelector"]}");
            }

            if (next == "second" && seen.Count == 2)
            {
                context.Response.StatusCode = 410;
                return context.Response.WriteAsync("""{"kind":"Status","reason":"Expired","code":410}""");
            }

            return context.Response.WriteAsync(next == "second"
                ? """{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"b"}}]}"""
                : """{"kind":"PodList","items":[{"metadata":{"name":"a"}}],"metadata":{"resourceVersion":"7","continue":"second"}}""");
        });
        using var client = new KubeClient(peer.Options, TimeProvider.System);
        var list = await client.ListAsync(ResourceKind.Pod, null, new ListOptions("a in (b)"), s_none);
        Assert.Equal(["a", "b"], list.Items.Select(item => item.Name()));
        Assert.Equal("7", list.ResourceVersion);
        Assert.All(list.Items, item => Assert.Equal(("v1", "Pod"), (item.ApiVersion(), item.Kind())));
        Assert.Equal(["500//a in (b)", "500/second/a in (b)", "500//a in (b)", "500/second/a in (b)"], seen);
    }

    [Fact]
    public async Task A_watch_reads_events_split_anywhere_and_ends_when_the_server_ends_it()
    {
        var text = """{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}""" + "\n\n"
            + """{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"5"}}}""" + "\r\n"
            + """{"type":"FUTURE","object":{"kind":"Pod"}}""" + "\n"
            + """{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"6"}}}""" + "\n";
        var query = "";
        await using var peer = await KubernetesPeer.StartAsync(async context =>
        {
            query = context.Request.QueryString.Value!;
            foreach (var chunk in Encoding.UTF8.GetBytes(text).Chunk(7))
            {
                await context.Response.Body.WriteAsync(chunk);
                await context.Response.Body.FlushAsync();
            }
        });
        using var client = new KubeClient(peer.Options, TimeProvider.System, new Random(1));
        var events = new List<string>();
        await foreach (var change in client.WatchAsync(ResourceKind.Pod, "x", "0", new ListOptions(), s_none))
            events.Add($"{change.Type} {change.Object.Kind()} {change.Object.ResourceVersion()}");
        Assert.Equal(["Added Pod 1", "Bookmark Pod 5", "Deleted Pod 6"], events);
        Assert.Matches(@"^\?watch=true&allowWatchBookmarks=true&resourceVersion=0&timeoutSeconds=[3-6]\d\d$", query);
    }

    [Theory]
    [InlineData("""{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}""" + "\n", 410, "Expired")]
    [InlineData("not json\n", 0, "BadAnswer")]
    [InlineData("{\"type\":\"ADDED\"}\n", 0, "BadAnswer")]
    [InlineData("""{"type":"ADDED","obj""", 0, "ConnectionLost")]
    public async Task A_broken_watch_is_an_exception_that_says_how(string text, int code, string reason)
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync(text));
        using var client = new KubeClient(peer.Options, TimeProvider.System);
        var error = await Assert.ThrowsAsync<KubeException>(async () =>
        {
            await foreach (var _ in client.WatchAsync(ResourceKind.Pod, null, "1", new ListOptions(), s_none))
                Assert.Fail("no event was expected");
        });
        Assert.Equal((code, reason), (error.Code, error.Reason));
    }

    [Fact]
    public async Task A_watch_event_longer_than_the_bound_is_refused()
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync(new string('x', 100_000)));
        using var client = new KubeClient(peer.Options with { WatchLineSizeMax = 50_000 }, TimeProvider.System);
        var error = await Assert.ThrowsAsync<KubeException>(async () =>
        {
            await foreach (var _ in client.WatchAsync(ResourceKind.Pod, null, "1", new ListOptions(), s_none))
                Assert.Fail("no event was expected");
        });
        Assert.Equal("TooLarge", error.Reason);
    }

    [Fact]
    public async Task A_watch_on_which_the_server_outstays_its_time_counts_as_dead()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        var open = new TaskCompletionSource();
        await using var peer = await KubernetesPeer.StartAsync(async context =>
        {
            await context.Response.WriteAsync("""{"type":"ADDED","object":{}}""" + "\n");
            await context.Response.Body.FlushAsync();
            await open.Task.WaitAsync(context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        });
        using var client = new KubeClient(peer.Options, time);
        await using var events = client.WatchAsync(ResourceKind.Pod, null, "1", new ListOptions(), s_none).GetAsyncEnumerator();
        Assert.True(await events.MoveNextAsync());
        var next = events.MoveNextAsync().AsTask();
        time.Advance(TimeSpan.FromMinutes(11));
        Assert.Equal("Timeout", (await Assert.ThrowsAsync<KubeException>(() => next.WaitAsync(Wait.Net))).Reason);
        open.SetResult();
    }

    [Fact]
    public async Task Cancelling_a_watch_throws_cancellation_and_nothing_else()
    {
        await using var peer = await KubernetesPeer.StartAsync(async context =>
        {
            await context.Response.StartAsync();
            await context.Response.Body.FlushAsync();
            await new TaskCompletionSource().Task.WaitAsync(context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        });
        using var client = new KubeClient(peer.Options, TimeProvider.System);
        using var stop = new CancellationTokenSource();
        await using var events = client.WatchAsync(ResourceKind.Pod, null, "1", new ListOptions(), stop.Token).GetAsyncEnumerator(stop.Token);
        var next = events.MoveNextAsync().AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next.WaitAsync(Wait.Net));
    }

    [Fact]
    public async Task Nobody_there_is_an_exception_with_code_zero()
    {
        Uri address;
        await using (var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync("{}")))
            address = peer.Address;
        using var client = new KubeClient(new KubeClientOptions { Server = address }, TimeProvider.System);
        Assert.Equal(0, (await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Node, null, "n", s_none))).Code);
    }
}
