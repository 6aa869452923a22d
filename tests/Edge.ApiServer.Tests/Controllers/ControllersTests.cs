using System.Text;
using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests;

/// <summary>All controllers on the real embedded API.</summary>
[Trait("Category", "Kubernetes")]
public sealed class ControllersTests : IAsyncLifetime
{
    private static readonly CancellationToken s_none = CancellationToken.None;
    private static readonly TimeSpan s_net = TimeSpan.FromSeconds(30);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("edge-controllers-tests-");
    private EmbeddedApiServer _server = null!;
    private KubeClient _client = null!;
    private KubeClient _inside = null!;
    private EmbeddedControllers _controllers = null!;

    public async Task InitializeAsync()
    {
        _server = await EmbeddedApiServer.StartAsync(new ApiServerOptions { DataDirectory = _directory.FullName, Port = 0 }, TimeProvider.System, NullLoggerFactory.Instance, s_none);
        _client = KubeClient.FromKubeconfig(_server.KubeconfigPath, TimeProvider.System);
        _inside = new KubeClient(_server.Inside, TimeProvider.System); // as cloudcore's
        _controllers = EmbeddedControllers.Start(_inside, TimeProvider.System, new Random(1), NullLoggerFactory.Instance, _client.Options.CertificateAuthorityPem);
    }

    public async Task DisposeAsync()
    {
        await _controllers.DisposeAsync().AsTask().WaitAsync(s_net);
        _inside.Dispose();
        _client.Dispose();
        await _server.DisposeAsync();
        _directory.Delete(recursive: true);
    }

    [Fact]
    public async Task A_pod_waits_with_a_reason_until_a_node_fits_and_is_then_bound()
    {
        await ApplyNodeAsync("small", "100m", "a");
        await CreateAsync(ResourceKind.Pod, "default", """{"metadata":{"name":"p"},"spec":{"nodeSelector":{"zone":"b"},"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}]}}""");
        var waiting = await UntilAsync(ResourceKind.Pod, "default", "p", pod => Condition(pod, "PodScheduled").Text("status") == "False", "the pod to be unschedulable");
        Assert.Equal("Unschedulable", Condition(waiting!, "PodScheduled").Text("reason"));
        Assert.Equal("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", Condition(waiting!, "PodScheduled").Text("message"));
        await ApplyNodeAsync("large", "4", "b");
        var bound = await UntilAsync(ResourceKind.Pod, "default", "p", pod => pod.Text("spec", "nodeName") == "large" && Condition(pod, "PodScheduled").Text("status") == "True", "the pod to be bound");
        await UntilEventAsync("default", bound!.Uid(), "FailedScheduling");
        Assert.Equal("Successfully assigned default/p to large", (await UntilEventAsync("default", bound!.Uid(), "Scheduled")).Text("message"));
    }

    [Fact]
    public async Task Pods_created_at_once_never_overfill_a_node()
    {
        await ApplyNodeAsync("n", "1", "a");
        for (var i = 0; i < 6; i++)
            await CreateAsync(ResourceKind.Pod, "default", $$$$$$"""{"metadata":{"name":"p{{{{{{i}}}}}}"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"300m"}}}]}}""");
        await UntilListAsync(ResourceKind.Pod, "default", pods => pods.All(pod => Condition(pod, "PodScheduled") is not null), "every pod to be decided");
        Assert.Equal(3, (await _client.ListAsync(ResourceKind.Pod, "default", new ListOptions(), s_none)).Items.Count(pod => pod.Text("spec", "nodeName") == "n"));

        // Room is made.
        var bound = (await _client.ListAsync(ResourceKind.Pod, "default", new ListOptions("", "spec.nodeName=n"), s_none)).Items[0];
        await _client.DeleteAsync(ResourceKind.Pod, "default", bound.Name(), new JsonObject { ["gracePeriodSeconds"] = 0 }, s_none);
        await UntilListAsync(ResourceKind.Pod, "default", pods => pods.Count(pod => pod.Text("spec", "nodeName") == "n") == 3, "another pod to take the room");
    }

    [Fact]
    public async Task A_pod_of_high_priority_drives_out_one_of_low_priority_and_takes_its_place()
    {
        await ApplyNodeAsync("n", "1", "a");
        await CreateAsync(ResourceKind.PriorityClass, null, """{"metadata":{"name":"high"},"value":1000}""");
        await CreateAsync(ResourceKind.PriorityClass, null, """{"metadata":{"name":"polite"},"value":1000,"preemptionPolicy":"Never"}""");
        const string wants = "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"800m\"}}}]";
        var low = await CreateAsync(ResourceKind.Pod, "default", $$$$$$"""{"metadata":{"name":"low"},"spec":{{{{{{{wants}}}}}}}}""");
        await UntilAsync(ResourceKind.Pod, "default", "low", pod => pod.Text("spec", "nodeName") == "n", "the low one to be bound");

        await CreateAsync(ResourceKind.Pod, "default", $$$$$$"""{"metadata":{"name":"polite"},"spec":{"priorityClassName":"polite",{{{{{{wants}}}}}}}}""");
        var polite = await UntilAsync(ResourceKind.Pod, "default", "polite", pod => Condition(pod, "PodScheduled") is not null, "the polite one to be decided");
        Assert.Equal("0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.", Condition(polite, "PodScheduled").Text("message"));
        await _client.DeleteAsync(ResourceKind.Pod, "default", "polite", null, s_none);

        await CreateAsync(ResourceKind.Pod, "default", $$$$$$"""{"metadata":{"name":"high"},"spec":{"priorityClassName":"high",{{{{{{wants}}}}}}}}""");
        var going = await UntilAsync(ResourceKind.Pod, "default", "low", pod => pod?.IsDeleting() == true, "the low one to be asked to go");
        Assert.Equal(("True", "PreemptionByScheduler"), (Condition(going, "DisruptionTarget").Text("status"), Condition(going, "DisruptionTarget").Text("reason")));
        Assert.Equal(30, going.Number(0, "metadata", "deletionGracePeriodSeconds"));
        var high = await UntilAsync(ResourceKind.Pod, "default", "high", pod => pod.Text("status", "nominatedNodeName") == "n", "the nomination");
        Assert.Equal("", high.Text("spec", "nodeName"));
        Assert.Equal($"Preempted by pod {high!.Uid()} on node n", (await UntilEventAsync("default", low.Uid(), "Preempted")).Text("message"));

        // One of less priority does not slip into the room that comes.
        await CreateAsync(ResourceKind.Pod, "default", $$$$$$"""{"metadata":{"name":"late"},"spec":{{{{{{{wants}}}}}}}}""");
        await UntilAsync(ResourceKind.Pod, "default", "late", pod => Condition(pod, "PodScheduled") is not null, "the late one to be decided");
        await _client.DeleteAsync(ResourceKind.Pod, "default", "low", new JsonObject { ["gracePeriodSeconds"] = 0 }, s_none);
        await UntilAsync(ResourceKind.Pod, "default", "high", pod => pod.Text("spec", "nodeName") == "n", "the high one to be bound");
        Assert.Equal("", (await _client.GetAsync(ResourceKind.Pod, "default", "late", s_none)).Text("spec", "nodeName"));
    }

    [Fact]
    public async Task A_pods_priority_comes_from_its_class()
    {
        async Task<(string Name, long Priority, string Policy)> MadeAsync(string name, string spec)
        {
            var pod = await CreateAsync(ResourceKind.Pod, "default", $$$$$$"""{"metadata":{"name":"{{{{{{name}}}}}}"},"spec":{{{{{{{spec}}}}}}"containers":[{"name":"c","image":"i"}]}}""");
            return (pod.Text("spec", "priorityClassName"), pod.Number(-1, "spec", "priority"), pod.Text("spec", "preemptionPolicy"));
        }

        async Task<string> RefusedAsync(Func<Task> act) => (await Assert.ThrowsAsync<KubeException>(act)).Message;
        Assert.Equal(("", 0, "PreemptLowerPriority"), await MadeAsync("none", ""));
        Assert.Equal(("system-node-critical", 2_000_001_000, "PreemptLowerPriority"), await MadeAsync("critical", "\"priorityClassName\":\"system-node-critical\","));
        await CreateAsync(ResourceKind.PriorityClass, null, """{"metadata":{"name":"usual"},"value":7,"globalDefault":true,"preemptionPolicy":"Never"}""");
        Assert.Equal(("usual", 7, "Never"), await MadeAsync("usual", ""));
        Assert.Equal("pods \"p\" is forbidden: no PriorityClass with name nope was found", await RefusedAsync(() => MadeAsync("p", "\"priorityClassName\":\"nope\",")));
        Assert.Equal(
            "pods \"p\" is forbidden: the integer value of priority (9) must not be provided in pod spec; priority admission controller computed 7 from the given PriorityClass name",
            await RefusedAsync(() => MadeAsync("p", "\"priority\":9,")));
        Assert.Equal(
            "priorityclasses.scheduling.k8s.io \"second\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist",
            await RefusedAsync(() => CreateAsync(ResourceKind.PriorityClass, null, """{"metadata":{"name":"second"},"value":8,"globalDefault":true}""")));
        Assert.Contains("maximum allowed value of a user defined priority is 1000000000", await RefusedAsync(() => CreateAsync(ResourceKind.PriorityClass, null, """{"metadata":{"name":"big"},"value":1000000001}""")), StringComparison.Ordinal);
        Assert.Contains("'system-' prefix", await RefusedAsync(() => CreateAsync(ResourceKind.PriorityClass, null, """{"metadata":{"name":"system-x"},"value":1}""")), StringComparison.Ordinal);
        Assert.Contains("may not be changed in an update", await RefusedAsync(() => _client.PatchAsync(ResourceKind.PriorityClass, null, "usual", PatchKind.Merge, """{"value":8}"""u8.ToArray(), null, s_none)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_runtime_class_gives_its_pods_their_overhead_and_their_place()
    {
        Task<JsonObject> PodAsync(string name, string spec)
            => CreateAsync(ResourceKind.Pod, "default", $$$$$$"""{"metadata":{"name":"{{{{{{name}}}}}}"},"spec":{{{{{{{spec}}}}}},"containers":[{"name":"c","image":"i"}]}}""");
        async Task<string> RefusedAsync(Func<Task> act) => (await Assert.ThrowsAsync<KubeException>(act)).Message;
        var kata = await CreateAsync(ResourceKind.RuntimeClass, null, """
            {"metadata":{"name":"kata"},"handler":"kata-qemu","overhead":{"podFixed":{"cpu":"250m","memory":"120Mi"}},
             "scheduling":{"nodeSelector":{"virtual":"yes"},"tolerations":[{"key":"virtual","operator":"Exists"},{"key":"other","operator":"Equal","value":"a","effect":"NoExecute","tolerationSeconds":5}]}}
            """);
        Assert.Equal("node.k8s.io/v1", kata.ApiVersion());
        await CreateAsync(ResourceKind.RuntimeClass, null, """{"metadata":{"name":"plain"},"handler":"runc"}""");

        var pod = await PodAsync("one", """
            "runtimeClassName":"kata","nodeSelector":{"disk":"ssd"},"tolerations":[{"key":"virtual","operator":"Equal","value":"x","effect":"NoSchedule"},{"key":"mine","operator":"Exists"}]
            """);
        Assert.Equal("""{"cpu":"250m","memory":"120Mi"}""", pod.At("spec", "overhead")!.ToJsonString());
        Assert.Equal("""{"disk":"ssd","virtual":"yes"}""", pod.At("spec", "nodeSelector")!.ToJsonString());
        Assert.Equal(
            ["mine", "virtual", "other"],
            pod.Items("spec", "tolerations").Select(toleration => toleration.Text("key")).Where(key => !key.StartsWith("node.", StringComparison.Ordinal)));
        Assert.Null((await PodAsync("two", "\"runtimeClassName\":\"plain\"")).At("spec", "overhead"));
        Assert.Equal("250m", (await PodAsync("same", "\"runtimeClassName\":\"kata\",\"overhead\":{\"cpu\":\"0.25\",\"memory\":\"120Mi\"}")).Text("spec", "overhead", "cpu"));

        Assert.Equal("pods \"p\" is forbidden: pod rejected: RuntimeClass \"nope\" not found", await RefusedAsync(() => PodAsync("p", "\"runtimeClassName\":\"nope\"")));
        Assert.Equal(
            "pods \"p\" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
            await RefusedAsync(() => PodAsync("p", "\"runtimeClassName\":\"kata\",\"overhead\":{\"cpu\":\"1\"}")));
        Assert.Equal(
            "pods \"p\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            await RefusedAsync(() => PodAsync("p", "\"overhead\":{\"cpu\":\"1\"}")));
        Assert.Equal(
            "pods \"p\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[virtual] = yes; pod.spec.nodeSelector[virtual] = no",
            await RefusedAsync(() => PodAsync("p", "\"runtimeClassName\":\"kata\",\"nodeSelector\":{\"virtual\":\"no\"}")));
        Assert.Contains("handler: Invalid value: \"other\": field is immutable", await RefusedAsync(() => _client.PatchAsync(ResourceKind.RuntimeClass, null, "kata", PatchKind.Merge, """{"handler":"other"}"""u8.ToArray(), null, s_none)), StringComparison.Ordinal);
        Assert.Contains("handler", await RefusedAsync(() => CreateAsync(ResourceKind.RuntimeClass, null, """{"metadata":{"name":"bad"},"handler":"Not a label"}""")), StringComparison.Ordinal);
        Assert.Contains("handler: Invalid value: \"\"", await RefusedAsync(() => CreateAsync(ResourceKind.RuntimeClass, null, """{"metadata":{"name":"none"}}""")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_namespace_gets_its_account_and_the_ca_and_goes_with_all_that_is_in_it()
    {
        await CreateAsync(ResourceKind.Namespace, null, """{"metadata":{"name":"x"}}""");
        await UntilAsync(ResourceKind.ServiceAccount, "x", "default", account => account is not null, "the default account");
        var ca = await UntilAsync(ResourceKind.ConfigMap, "x", "kube-root-ca.crt", map => map is not null, "the CA");
        Assert.Contains("BEGIN CERTIFICATE", ca.Text("data", "ca.crt"), StringComparison.Ordinal);
        await _client.DeleteAsync(ResourceKind.ServiceAccount, "x", "default", null, s_none);
        await UntilAsync(ResourceKind.ServiceAccount, "x", "default", account => account is not null, "the default account again");

        await CreateCrdAsync();
        await CreateAsync(s_gadget, "x", """{"metadata":{"name":"g","finalizers":["test/hold"]}}""");
        await CreateAsync(ResourceKind.Secret, "x", """{"metadata":{"name":"s"}}""");
        await CreateAsync(ResourceKind.Pod, "x", """{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        await _client.DeleteAsync(ResourceKind.Namespace, null, "x", null, s_none);
        await UntilAsync(s_gadget, "x", "g", gadget => gadget?.IsDeleting() ?? true, "the gadget to go");
        await UntilAsync(ResourceKind.Secret, "x", "s", secret => secret is null, "the secret to go");
        var held = await UntilAsync(
            ResourceKind.Namespace, null, "x",
            space => Message(space, "NamespaceContentRemaining") == "Some resources are remaining: gadgets.test.example has 1 resource instances", "what remains to be told");
        Assert.Equal("Some content in the namespace has finalizers remaining: test/hold in 1 resource instances", Message(held, "NamespaceFinalizersRemaining"));
        await _client.PatchAsync(s_gadget, "x", "g", PatchKind.Merge, """{"metadata":{"finalizers":null}}"""u8.ToArray(), null, s_none);
        await UntilAsync(ResourceKind.Namespace, null, "x", space => space is null, "the namespace to go");

        static string Message(JsonObject? space, string condition) => space.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == condition && one.Text("status") == "True").Text("message");
    }

    [Theory]
    [InlineData("Background")]
    [InlineData("Foreground")]
    [InlineData("Orphan")]
    public async Task Dependents_follow_their_owner_as_the_propagation_says(string propagation)
    {
        await CreateCrdAsync();
        var owner = await CreateAsync(s_gadget, "default", """{"metadata":{"name":"owner"}}""");
        var middle = await CreateAsync(ResourceKind.ConfigMap, "default", Owned("middle", s_gadget, owner));
        await CreateAsync(ResourceKind.Secret, "default", Owned("leaf", ResourceKind.ConfigMap, middle));
        await CreateAsync(s_gadget, "default", Owned("sibling", s_gadget, owner));
        await _client.DeleteAsync(s_gadget, "default", "owner", new JsonObject { ["propagationPolicy"] = propagation }, s_none);
        await UntilAsync(s_gadget, "default", "owner", obj => obj is null, "the owner to go");
        if (propagation == "Orphan")
        {
            await UntilAsync(ResourceKind.ConfigMap, "default", "middle", obj => !obj!.Items("metadata", "ownerReferences").Any(), "the dependent to be free");
            Assert.NotNull(await _client.TryGetAsync(s_gadget, "default", "sibling", s_none));
            Assert.NotNull(await _client.TryGetAsync(ResourceKind.Secret, "default", "leaf", s_none));
            return;
        }

        if (propagation == "Foreground")
            Assert.Null(await _client.TryGetAsync(ResourceKind.ConfigMap, "default", "middle", s_none));
        await UntilAsync(ResourceKind.ConfigMap, "default", "middle", obj => obj is null, "the dependent to go");
        await UntilAsync(ResourceKind.Secret, "default", "leaf", obj => obj is null, "the dependent's dependent to go");
        await UntilAsync(s_gadget, "default", "sibling", obj => obj is null, "the custom dependent to go");
    }

    [Fact]
    public async Task A_dependent_whose_status_changed_since_is_let_go_all_the_same()
    {
        await CreateCrdAsync();
        var owner = await CreateAsync(ResourceKind.ConfigMap, "default", """{"metadata":{"name":"owner"}}""");
        await CreateAsync(s_gadget, "default", Owned("dependent", ResourceKind.ConfigMap, owner));
        // The first makes the state one that the schema has judged; the controllers are not shown the second.
        foreach (var count in (int[])[1, 2])
            await _client.PatchAsync(s_gadget, "default", "dependent", PatchKind.Merge, Encoding.UTF8.GetBytes($$$"""{"status":{"count":{{{count}}}}}"""), "status", s_none);
        await _client.DeleteAsync(ResourceKind.ConfigMap, "default", "owner", new JsonObject { ["propagationPolicy"] = "Orphan" }, s_none);
        await UntilAsync(s_gadget, "default", "dependent", obj => !obj!.Items("metadata", "ownerReferences").Any(), "the dependent to be free");
        await UntilAsync(ResourceKind.ConfigMap, "default", "owner", obj => obj is null, "the owner to go");
    }

    [Fact]
    public async Task Endpoints_follow_the_pods_and_go_with_the_service()
    {
        await ApplyNodeAsync("n", "4", "a");
        await CreateAsync(ResourceKind.Service, "default", """{"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}}""");
        await CreateAsync(ResourceKind.Pod, "default", """{"metadata":{"name":"p","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"name":"http","containerPort":8080}]}]}}""");
        await UntilAsync(ResourceKind.Pod, "default", "p", pod => pod.Text("spec", "nodeName") == "n", "the pod to be bound");
        await StatusAsync(ResourceKind.Pod, "default", "p", """{"podIP":"10.0.0.7","conditions":[{"type":"Ready","status":"True"}]}""");
        var endpoints = await UntilAsync(ResourceKind.Endpoints, "default", "web", obj => obj.Items("subsets").Any(subset => subset.Items("addresses").Any()), "an address");
        Assert.Equal("10.0.0.7", endpoints.Items("subsets").First().Items("addresses").First().Text("ip"));
        Assert.Equal(8080, endpoints.Items("subsets").First().Items("ports").First().Number(0, "port"));
        JsonObject? slice = null;
        while (slice is null || !slice.Items("endpoints").Any(endpoint => endpoint.At("conditions").Flag(false, "ready")))
            slice = (await _client.ListAsync(ResourceKind.EndpointSlice, "default", new ListOptions(LabelSelector: "kubernetes.io/service-name=web"), s_none)).Items.SingleOrDefault();
        Assert.Equal("10.0.0.7", slice.Items("endpoints").Single().Texts("addresses").Single());
        await _client.DeleteAsync(ResourceKind.Service, "default", "web", null, s_none);
        await UntilAsync(ResourceKind.EndpointSlice, "default", slice.Name(), obj => obj is null, "the slice to go");
        await UntilAsync(ResourceKind.Endpoints, "default", "web", obj => obj is null, "the endpoints to go");
    }

    [Fact]
    public async Task A_cordoned_node_gets_its_taint_and_loses_it()
    {
        await ApplyNodeAsync("n", "4", "a");
        await _client.PatchAsync(ResourceKind.Node, null, "n", PatchKind.Merge, """{"spec":{"unschedulable":true}}"""u8.ToArray(), null, s_none);
        await UntilAsync(ResourceKind.Node, null, "n", node => node.Items("spec", "taints").Any(taint => taint.Text("key") == "node.kubernetes.io/unschedulable"), "the taint");
        await _client.PatchAsync(ResourceKind.Node, null, "n", PatchKind.Merge, """{"spec":{"unschedulable":null}}"""u8.ToArray(), null, s_none);
        await UntilAsync(ResourceKind.Node, null, "n", node => !node.Items("spec", "taints").Any(), "the taint to go");
    }

    private static readonly ResourceKind s_gadget = new("test.example", "v1", "gadgets", "Gadget", true);

    private async Task<JsonObject> CreateCrdAsync()
    {
        await CreateAsync(ResourceKind.CustomResourceDefinition, null, """
            {"metadata":{"name":"gadgets.test.example"},"spec":{"group":"test.example","scope":"Namespaced","names":{"plural":"gadgets","singular":"gadget","kind":"Gadget","listKind":"GadgetList"},
             "versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true,
             "properties":{"status":{"type":"object","properties":{"count":{"type":"integer"}}}}}}}]}}
            """);
        return (await UntilAsync(ResourceKind.CustomResourceDefinition, null, "gadgets.test.example", crd => Condition(crd!, "Established").Text("status") == "True", "the CRD to be established"))!;
    }

    private Task<JsonObject> CreateAsync(ResourceKind kind, string? space, string json)
    {
        var obj = JsonNode.Parse(json)!.AsObject();
        obj["apiVersion"] = kind.ApiVersion;
        obj["kind"] = kind.Kind;
        return _client.CreateAsync(kind, space, obj, s_none);
    }

    private static string Owned(string name, ResourceKind ownerKind, JsonObject owner)
        => $$$"""{"metadata":{"name":"{{{name}}}","ownerReferences":[{"apiVersion":"{{{ownerKind.ApiVersion}}}","kind":"{{{ownerKind.Kind}}}","name":"{{{owner.Name()}}}","uid":"{{{owner.Uid()}}}","blockOwnerDeletion":true}]}}""";

    private async Task ApplyNodeAsync(string name, string cpu, string zone)
    {
        await CreateAsync(ResourceKind.Node, null, $$$$$$"""{"metadata":{"name":"{{{{{{name}}}}}}","labels":{"zone":"{{{{{{zone}}}}}}"}}}""");
        await StatusAsync(ResourceKind.Node, null, name, $$$"""{"allocatable":{"cpu":"{{{cpu}}}","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}]}""");
        await UntilAsync(ResourceKind.Node, null, name, node => Condition(node, "Ready") is not null && !node.Items("spec", "taints").Any(), "the node to be ready and without taints");
    }

    private Task StatusAsync(ResourceKind kind, string? space, string name, string status)
        => _client.PatchAsync(kind, space, name, PatchKind.Strategic, Encoding.UTF8.GetBytes($$$"""{"status":{{{status}}}}"""), "status", s_none);

    private static JsonObject? Condition(JsonObject? obj, string type) => obj.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") == type);

    private async Task<JsonObject?> UntilAsync(ResourceKind kind, string? space, string name, Func<JsonObject?, bool> holds, string what)
    {
        JsonObject? found = null;
        await UntilListAsync(kind, space, items => holds(found = items.FirstOrDefault(item => item.Name() == name)), what);
        return found;
    }

    private async Task<JsonObject> UntilEventAsync(string space, string uid, string reason)
    {
        JsonObject? found = null;
        await UntilListAsync(ResourceKind.Event, space, items => (found = items.FirstOrDefault(item => item.Text("involvedObject", "uid") == uid && item.Text("reason") == reason)) is not null, $"event {reason}");
        return found!;
    }

    // List, then watch from there: no polling and nothing missed.
    private async Task UntilListAsync(ResourceKind kind, string? space, Func<IReadOnlyCollection<JsonObject>, bool> holds, string what)
    {
        using var net = new CancellationTokenSource(s_net);
        var list = await _client.ListAsync(kind, space, new ListOptions(), net.Token);
        var items = list.Items.ToDictionary(item => item.Name());
        if (holds(items.Values))
            return;
        try
        {
            await foreach (var change in _client.WatchAsync(kind, space, list.ResourceVersion, new ListOptions(), net.Token))
            {
                if (change.Type == WatchEventType.Deleted)
                    items.Remove(change.Object.Name());
                else if (change.Type != WatchEventType.Bookmark)
                    items[change.Object.Name()] = change.Object;
                if (holds(items.Values))
                    return;
            }
        }
        catch (OperationCanceledException)
        {
            // Said below.
        }

        throw new TimeoutException($"waited for {what}; last: {string.Join('\n', items.Values.Select(item => item.ToJsonString()))}");
    }
}
