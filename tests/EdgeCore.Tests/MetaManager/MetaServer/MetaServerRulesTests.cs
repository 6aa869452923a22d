using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.MetaManager.MetaServer;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests.MetaManager.MetaServer;

/// <summary>The rules of MetaServer, without sockets.</summary>
[Trait("Category", "Kubernetes")]
public sealed class MetaServerRulesTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 22, 4, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("GET", "/api/v1/namespaces/default/pods/web", false, "get||v1|default|pods|web|", "/core/v1/pods/default/web")]
    [InlineData("GET", "/api/v1/pods", true, "watch||v1||pods||", "/core/v1/pods/null/null")]
    [InlineData("GET", "/apis/apps/v1/namespaces/a/deployments", false, "list|apps|v1|a|deployments||", "/apps/v1/deployments/a/null")]
    [InlineData("PATCH", "/api/v1/namespaces/default/pods/web/status", false, "patch||v1|default|pods|web|status", "/core/v1/pods/default/web")]
    [InlineData("DELETE", "/api/v1/namespaces/default/configmaps", false, "deletecollection||v1|default|configmaps||", "/core/v1/configmaps/default/null")]
    [InlineData("GET", "/api/v1/namespaces/default", false, "get||v1||namespaces|default|", "/core/v1/namespaces/null/default")]
    [InlineData("PUT", "/api/v1/namespaces/default/finalize", false, "update||v1||namespaces|default|finalize", "/core/v1/namespaces/null/default")]
    [InlineData("GET", "/apis/apps/v1", false, "get||||||", "/apis/apps/v1")]
    public void Path_names_verb_resource_and_object(string method, string path, bool watch, string read, string key)
    {
        var request = KubeRequest.Read(method, path, watch)!;
        Assert.Equal(read, string.Join('|', request.Verb, request.Group, request.Version, request.Namespace, request.Resource, request.Name, request.Subresource));
        Assert.Equal(key, request.Key);
    }

    [Theory]
    [InlineData("GET", "/api/v1/../secrets")]
    [InlineData("GET", "api")]
    [InlineData("BREW", "/api/v1/pods")]
    public void Path_that_is_none_is_refused(string method, string path) => Assert.Null(KubeRequest.Read(method, path, false));

    [Fact]
    public void Token_is_good_when_its_issuer_signed_it_for_this_audience_and_time()
    {
        using var issuer = new TokenIssuer();
        using var other = new TokenIssuer();
        TokenCheck Check(string token, TokenKeys? keys = null, bool isKnown = false) => AccountToken.Check(token, keys ?? issuer.Keys, isKnown, [MetaServerOptions.DefaultIssuer], [MetaServerOptions.DefaultIssuer], s_now);

        var good = Check(issuer.Make(s_now.AddMinutes(10), pod: ("web", "u1")));
        Assert.Equal(("", "system:serviceaccount:default:reader", "u1"), (good.Problem, good.Claims!.User, good.Claims.PodUid));
        Assert.Equal("", Check(issuer.Make(s_now.AddMinutes(10)), TokenKeys.FromPem(issuer.Pem)).Problem);
        Assert.Contains("expired", Check(issuer.Make(s_now.AddMinutes(-10))).Problem, StringComparison.Ordinal);
        Assert.True(Check(issuer.Make(s_now.AddMinutes(-10))).IsSigned);
        Assert.Contains("not valid yet", Check(issuer.Make(s_now.AddHours(3))).Problem, StringComparison.Ordinal);
        foreach (var bad in (string[])
            [
                other.Make(s_now.AddMinutes(10)), issuer.Make(s_now.AddMinutes(10), issuer: "https://evil"), issuer.Make(s_now.AddMinutes(10), audience: "vault"),
                issuer.Make(s_now.AddMinutes(10))[..^4] + "AAAA", "a.b.c", "", new string('x', 20_000),
            ])
        {
            var check = Check(bad);
            Assert.False(check.IsSigned, bad);
            Assert.NotEmpty(check.Problem);
            if (bad.Length > 0)
                Assert.DoesNotContain(bad, check.Problem, StringComparison.Ordinal);
        }

        Assert.Contains("does not know the issuer's keys", Check(issuer.Make(s_now.AddMinutes(10)), TokenKeys.None).Problem, StringComparison.Ordinal);
        Assert.Equal("", Check(other.Make(s_now.AddMinutes(10)), isKnown: true).Problem);
    }

    [Fact]
    public async Task Who_asks_by_plain_HTTP_without_a_token_is_the_configured_account_by_the_newest_token_of_its_pods_here()
    {
        using var issuer = new TokenIssuer();
        var meta = new FakeMetaStore();
        var rows = new Edge.Core.MetaManager.LocalRows("serviceaccounttoken");
        var isConnected = true;
        Authentication With(string account)
            => new(new MetaServerOptions { HttpServiceAccount = account }, meta, () => "own", () => isConnected, new ManualTimeProvider(s_now));
        async Task<string> GiveAsync(string key, string account, double minutes, string pod, string audience = MetaServerOptions.DefaultIssuer)
        {
            var token = issuer.Make(s_now.AddMinutes(minutes), account, audience: audience, pod: (pod, "u-" + pod));
            await rows.PutAsync(meta, key, new JsonObject { ["status"] = new JsonObject { ["token"] = token } }, CancellationToken.None);
            return token;
        }

        var mesh = With("default/mesh");
        Assert.Contains("no pod of it with a token for the API is on this node", Assert.Throws<MetaServerException>(() => mesh.Identify(null, isHttps: false)).Message, StringComparison.Ordinal);
        foreach (var pod in (string[])["one", "two", "other"])
            meta.Put("pod", JsonNode.Parse($$$"""{"metadata":{"name":"{{{pod}}}","namespace":"default","uid":"u-{{{pod}}}"}}""")!.AsObject());
        await GiveAsync("a", "mesh", 10, "one");
        var newest = await GiveAsync("b", "mesh", 20, "two");
        await GiveAsync("c", "mesh", 30, "gone"); // its pod is not here
        await GiveAsync("d", "mesh", 40, "one", "vault"); // not for the API
        var other = await GiveAsync("e", "other", 50, "other");
        Assert.Equal(("system:serviceaccount:default:mesh", newest), (mesh.Identify(null, isHttps: false).Name, mesh.Identify(null, isHttps: false).Token));
        Assert.Throws<MetaServerException>(() => With("kube-system/mesh").Identify(null, isHttps: false));

        // HTTPS takes a token, and who shows one is who it says.
        Assert.Throws<MetaServerException>(() => mesh.Identify(null, isHttps: true));
        Assert.Throws<MetaServerException>(() => mesh.Identify("Bearer nonsense", isHttps: false));
        Assert.Equal(other, mesh.Identify($"Bearer {other}", isHttps: false).Token);

        // An expired token goes on while the cloud cannot give another.
        var expired = await GiveAsync("e", "other", -10, "other");
        Assert.Throws<MetaServerException>(() => With("default/other").Identify(null, isHttps: false));
        isConnected = false;
        Assert.Equal(expired, With("default/other").Identify(null, isHttps: false).Token);
    }

    [Fact]
    public void Watch_from_a_list_or_from_any_object_misses_nothing_whatever_order_the_clusters_versions_come_in()
    {
        var held = new HeldObjects(["pod"], HeldObjects.VersionMin);
        held.Put("pod", Pod("a", "900"));
        var (items, version) = held.List("pod");
        held.Put("pod", Pod("b", "100")); // older at the cluster, later here
        held.Put("pod", Pod("a", "901", "two"));
        held.Remove("pod", "default", "b");

        using var watch = held.Watch("pod", version)!;
        Assert.Equal(["Added b", "Modified a", "Deleted b"], watch.Replay.Select(one => $"{one.Type} {one.Object.Name}"));
        using var later = held.Watch("pod", watch.Replay[0].Object.Version)!;
        Assert.Equal(["Modified a", "Deleted b"], later.Replay.Select(one => $"{one.Type} {one.Object.Name}"));
        Assert.Equal(items.Single().Json.ResourceVersion(), items.Single().Version.ToString(System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal("900", items.Single().CloudVersion);
        Assert.Null(held.Watch("pod", 900)); // the cluster's: unknown here
        Assert.Null(held.Watch("pod", version + 1_000_000));
        Assert.Null(new HeldObjects(["pod"], version + 10).Watch("pod", version)); // of the run before
    }

    [Fact]
    public void Same_state_is_no_change_and_another_uid_is_a_deletion_and_an_addition()
    {
        var held = new HeldObjects(["pod"], HeldObjects.VersionMin);
        held.Put("pod", Pod("a", "1"));
        using var watch = held.WatchFromNow("pod", out _);
        held.Put("pod", Pod("a", "1"));
        Assert.Equal(0, watch.Queue.Count);
        var again = Pod("a", "2");
        again.Child("metadata")["uid"] = "other";
        held.Put("pod", again);
        Assert.True(watch.Queue.TryRead(out var first) && watch.Queue.TryRead(out var second) && first.Type == WatchEventType.Deleted && second.Type == WatchEventType.Added);
    }

    [Fact]
    public void History_and_waiting_changes_are_bounded()
    {
        var held = new HeldObjects(["pod"], HeldObjects.VersionMin);
        using var slow = held.WatchFromNow("pod", out _);
        for (var i = 0; i < HeldObjects.HistoryMax + 2; i++)
            held.Put("pod", Pod("a", $"{i}"));
        Assert.Null(held.Watch("pod", HeldObjects.VersionMin));
        Assert.NotNull(held.Watch("pod", held.Version));
        var read = 0;
        while (slow.Queue.TryRead(out _))
            read++;
        Assert.Equal(HeldObjects.WaitingMax, read);
        Assert.True(slow.Queue.Completion.IsCompleted); // and lists again
    }

    [Fact]
    public void Object_that_leaves_the_selection_is_deleted_and_one_that_enters_it_added()
    {
        var selection = ObjectSelection.Read("default", "stage=one", "");
        var held = new HeldObjects(["pod"], HeldObjects.VersionMin);
        using var watch = held.WatchFromNow("pod", out _);
        held.Put("pod", Pod("a", "1", "one"));
        held.Put("pod", Pod("a", "2", "two"));
        held.Put("pod", Pod("a", "3", "one"));
        held.Put("pod", Pod("b", "4", "two"));
        var seen = new List<string>();
        while (watch.Queue.TryRead(out var change))
        {
            if (selection.Seen(change) is var (type, obj))
                seen.Add($"{type} {obj.Name()} {obj.Label("stage")}");
        }

        Assert.Equal(["Added a one", "Deleted a one", "Added a one"], seen);
        Assert.Equal(400, Assert.Throws<MetaServerException>(() => ObjectSelection.Read("", "a==,=", "")).Code);
    }

    [Fact]
    public void Answers_are_kept_by_what_was_asked_and_pages_are_not()
    {
        Assert.Equal("json|/apis/apps/v1/deployments?labelSelector=a%3Db", AnswerCache.KeyOf("/apis/apps/v1/deployments?limit=500&labelSelector=a%3Db&resourceVersion=0&timeoutSeconds=5&watch=true", "application/json"));
        Assert.StartsWith("table|", AnswerCache.KeyOf("/api/v1/events", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), StringComparison.Ordinal);
        Assert.Null(AnswerCache.KeyOf("/api/v1/events?continue=abc", "application/json"));
    }

    [Fact]
    public async Task Cache_is_bounded_by_bytes_and_survives_a_restart()
    {
        var meta = new FakeMetaStore();
        var cache = new AnswerCache(meta, 1000);
        foreach (var name in (string[])["a", "b", "c", "d", "e"])
            await cache.PutAsync(name, new CachedAnswer("application/json", Encoding.UTF8.GetBytes($"{{\"x\":\"{name}{new string('y', 240)}\"}}"), s_now), CancellationToken.None);
        await cache.PutAsync("huge", new CachedAnswer("application/json", new byte[600], s_now), CancellationToken.None);

        var again = new AnswerCache(meta, 1000);
        Assert.Null(again.Get("a"));
        Assert.Null(again.Get("huge"));
        Assert.Equal(s_now, again.Get("e")!.At);
        Assert.True(cache.Size.Bytes <= 1000 && cache.Size.Count == 4, $"{cache.Size}");
    }

    [Fact]
    public void Followed_list_is_what_list_and_events_say()
    {
        var list = FollowedList.Read("""{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a","namespace":"n"}},{"metadata":{"name":"b","namespace":"n"}}]}"""u8.ToArray())!;
        Assert.True(list.Apply("DELETED", Json("""{"metadata":{"name":"a","namespace":"n","resourceVersion":"7"}}""")));
        Assert.True(list.Apply("ADDED", Json("""{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"c","namespace":"n","resourceVersion":"8"}}""")));
        Assert.False(list.Apply("ERROR", []));
        var written = JsonNode.Parse(list.Write())!;
        Assert.Equal(("DeploymentList", "8"), (written.Text("kind"), written.Text("metadata", "resourceVersion")));
        Assert.Equal(["Deployment b", "Deployment c"], written.Items("items").Select(item => $"{item.Text("kind")} {item.Name()}"));
        Assert.Null(FollowedList.Read("""{"kind":"PodList","metadata":{"continue":"x"},"items":[]}"""u8.ToArray()));
    }

    [Fact]
    public void Access_answers_are_fresh_for_five_minutes_when_allowed_and_half_a_minute_when_denied()
    {
        Assert.True(AccessRules.IsFresh(new AccessAnswer(true, "", s_now.AddSeconds(-299)), s_now));
        Assert.False(AccessRules.IsFresh(new AccessAnswer(true, "", s_now.AddSeconds(-301)), s_now));
        Assert.False(AccessRules.IsFresh(new AccessAnswer(false, "", s_now.AddSeconds(-31)), s_now));
        Assert.False(AccessRules.IsFresh(new AccessAnswer(true, "", s_now.AddSeconds(10)), s_now)); // the clock was set back
        var review = AccessRules.Review("system:serviceaccount:a:b", ["g"], KubeRequest.Read("GET", "/apis/apps/v1/namespaces/a/deployments/x/status", false)!);
        Assert.Equal("""{"verb":"get","group":"apps","version":"v1","resource":"deployments","subresource":"status","namespace":"a","name":"x"}""", review.At("spec", "resourceAttributes")!.ToJsonString());
    }

    [Fact]
    public void Table_of_pods_has_kubectls_columns()
    {
        var pod = Json("""
            {"kind":"Pod","metadata":{"name":"web","namespace":"default","creationTimestamp":"2026-11-22T03:55:00Z"},"spec":{"nodeName":"edge-1","containers":[{"name":"a"},{"name":"b"}]},
             "status":{"phase":"Running","podIP":"10.0.0.2","containerStatuses":[{"name":"a","ready":true,"restartCount":2,"state":{"running":{}}},{"name":"b","ready":false,"restartCount":1,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}
            """);
        var table = NodeTables.Build(ResourceKind.Pod, [pod], "7", "None", s_now);
        Assert.Equal("Name Ready Status Restarts Age IP Node", string.Join(' ', table.Items("columnDefinitions").Select(one => one.Text("name"))));
        Assert.Equal("web|1/2|CrashLoopBackOff|3|5m|10.0.0.2|edge-1", string.Join('|', table.Items("rows").Single().Texts("cells")));
        Assert.Equal(0, table.Items("rows").Single()["object"] is null ? 0 : 1);
    }

    [Fact]
    public void Pods_are_told_where_the_api_is_that_they_can_reach()
    {
        var access = new InClusterAccess(new(System.Net.IPAddress.Loopback, 10550), new(System.Net.IPAddress.Parse("169.254.30.10"), 10551), "");
        Assert.True(PodDescription.TryRead(Json("""{"metadata":{"name":"a","namespace":"n","uid":"u"},"spec":{"hostNetwork":true,"containers":[{"name":"c","image":"i"}]}}"""), out var host, out _));
        Assert.True(PodDescription.TryRead(Json("""{"metadata":{"name":"a","namespace":"n","uid":"u"},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"AT","value":"$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)"}]}]}}"""), out var own, out _));
        Assert.Equal("127.0.0.1", InCluster.Environment(host!, access).ToDictionary()["KUBERNETES_SERVICE_HOST"]);
        Assert.Empty(InCluster.Environment(own!, access with { ForPods = null }));
        Assert.Empty(InCluster.Environment(own!, null));
        var variables = PodEnvironment.Resolve(own!, own!.Containers[0], (_, _) => null, "192.0.2.1", [], null, InCluster.Environment(own, access)).ToDictionary();
        Assert.Equal("169.254.30.10:10551", variables["AT"]);
    }

    [Fact]
    public void Application_survives_the_wire_and_bad_content_is_a_value()
    {
        var sent = new ApplicationMessage
        {
            Id = "i", Key = "/core/v1/pods/default/null", Verb = "list", NodeName = "edge-1", Option = "{}"u8.ToArray(), RequestBody = "b"u8.ToArray(), Status = ApplicationMessage.InApplying,
            ErrorStatus = new JsonObject { ["code"] = 404L }, Http = new ApplicationHttp { Method = "GET", Target = "/api/v1/pods", Token = "secret-token", Code = 200, Sequence = 3 },
        };
        var read = ApplicationMessage.TryRead(sent.Write(), out var error)!;
        Assert.Equal("", error);
        Assert.Equal((sent.Key, sent.Verb, "b", 404L, sent.Http), (read.Key, read.Verb, Encoding.UTF8.GetString(read.RequestBody.Span), read.ErrorStatus.Number(0, "code"), read.Http));
        Assert.DoesNotContain("secret-token", sent.Http.ToString(), StringComparison.Ordinal);
        // As Go writes it, in any case of the keys.
        Assert.Equal("get", ApplicationMessage.TryRead("""{"id":"x","KEY":"/core/v1/pods/a/b","verb":"get","option":null,"respbody":"e30="}"""u8.ToArray(), out _)!.Verb);
        foreach (var bad in (string[])["", "[]", "{", """{"ReqBody":"%"}""", "{\"ID\":\"\\ud800\"}"])
            Assert.Null(ApplicationMessage.TryRead(Encoding.UTF8.GetBytes(bad), out _));
    }

    private static JsonObject Pod(string name, string version, string stage = "")
        => Json($$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"default","uid":"u-{{{name}}}","resourceVersion":"{{{version}}}","labels":{"stage":"{{{stage}}}"} } }""");

    private static JsonObject Json(string text) => JsonNode.Parse(text)!.AsObject();
}
