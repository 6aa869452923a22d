using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;

namespace Edge.Cloud.Tests;

/// <summary>A stock edge's side of the recorded exchange, played to the whole cloudcore.</summary>
[Trait("Category", "Interop")]
public sealed class ReplayTests : IDisposable
{
    private const string Node = "edge-node";

    // Where our pushes differ from the recorded ones, and why a stock edge does not mind.
    private static readonly string[] s_differences =
    [
        // As it stands at the API: Go writes the empty status that nobody set, and reads none as empty.
        "insert default/device/thermo: content.status is missing",
        "update default/device/thermo: content.status is missing",
        "delete default/device/thermo: content.status is missing",
        // After a reconnect a stock cloud names another room than for the same change while connected; ours names the same, which stock edges hand to their twins.
        "update default/device/thermo: comes from devicecontroller in group resource, recorded edgecontroller and resource",
    ];

    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [SkippableFact]
    public async Task Every_request_of_a_stock_edge_is_answered_as_a_stock_cloud_answered_it()
    {
        var lines = Recording.Read();
        Skip.If(lines is null, "the recorded exchange (../shared/facts/samples) is missing");
        await using var cloud = await WholeCloud.StartAsync(_data.Path);
        // The pods of the recording use it; the embedded API makes it a moment after its start.
        await cloud.UntilAsync(ResourceKind.ConfigMap, "kube-root-ca.crt in default", one => one.Name() == "kube-root-ca.crt" && one.Namespace() == "default");
        using var certificate = await cloud.EnrolAsync(Node);
        var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, Node, certificate);
        var known = new Substitutes();
        var problems = new List<string>();
        var asked = new List<string>();
        var pushed = new HashSet<string>(); // routes, since the last step
        var before = 0; // received until then
        try
        {
            foreach (var line in lines)
            {
                if (line.Text("step") is { Length: > 0 } step)
                {
                    pushed.Clear();
                    before = edge.Received.Count;
                    if (step.StartsWith("link cut", StringComparison.Ordinal))
                    {
                        await edge.DisposeAsync();
                        before = 0;
                        foreach (var change in lines.SkipWhile(one => one != line).Skip(1).TakeWhile(one => one.Text("step").Length == 0).Where(Recording.IsPush))
                        {
                            var isDevice = change["message"].Text("route", "resource") == "default/device/thermo";
                            await MergeAsync(
                                cloud, isDevice ? ResourceKind.Device : ResourceKind.ConfigMap, isDevice ? "thermo" : "app", isDevice ? "spec" : "data", change["message"]!["content"]!.AsObject());
                        }

                        edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, Node, certificate);
                    }
                    else
                    {
                        await ActAsync(cloud, edge, lines, step);
                    }
                }
                else if (Recording.IsRequest(line))
                {
                    asked.Add(Recording.Route(line["message"]!));
                    problems.AddRange(await AskAsync(edge, known, lines, line["message"]!));
                }
                else if (Recording.IsPush(line) && !IsOwnStatus(line["message"]!) && pushed.Add(Recording.Route(line["message"]!)))
                {
                    problems.AddRange(await ComparePushAsync(edge, known, line["message"]!, before));
                }
            }
        }
        finally
        {
            await edge.DisposeAsync();
        }

        Assert.Equal("", string.Join('\n', problems.Except(s_differences)));
        Assert.Equal("", string.Join('\n', s_differences.Except(problems))); // what is no difference any more
        Assert.Equal(
            [
                "delete default/pod/web", "insert kube-node-lease/lease/edge-node", "insert null/node/edge-node", "patch default/podpatch/web",
                "patch null/nodepatch/edge-node", "query default/configmap/app", "query default/configmap/kube-root-ca.crt", "query default/secret/cred",
                "query default/serviceaccounttoken/default", "query kube-node-lease/lease/edge-node", "update device/default/thermo/state/update",
                "update device/default/thermo/twin/edge_updated", "update kube-node-lease/lease/edge-node",
            ],
            asked.Distinct().Order(StringComparer.Ordinal));
        // What the requests were for is in the API.
        Assert.Null(await cloud.Kube.TryGetAsync(ResourceKind.Pod, "default", "web", CancellationToken.None));
        var lease = await cloud.Kube.GetAsync(ResourceKind.Lease, "kube-node-lease", Node, CancellationToken.None);
        Assert.Equal(Node, lease.Text("spec", "holderIdentity"));
    }

    [Theory]
    [InlineData("""{"Object":{"a":1},"Err":null}""", """{"Object":{"a":2,"b":3},"Err":null}""", "")]
    [InlineData("""{"Object":{"a":1},"Err":null}""", """{"Object":{"a":2}}""", "content.Err is missing")]
    [InlineData("""{"Object":{"a":1},"Err":null}""", """{"Object":null,"Err":null}""", "content.Object is null, recorded Object")]
    [InlineData("""{"a":[1]}""", """{"a":[]}""", "content.a is empty")]
    [InlineData("""{"a":"1"}""", """{"a":1}""", "content.a is Number, recorded String")]
    public void Difference_of_shape_is_noticed(string recorded, string ours, string problem)
        => Assert.Equal(problem, string.Join('\n', Shape.Missing(JsonNode.Parse(recorded), JsonNode.Parse(ours))));

    // Sends one recorded request; returns how the answer differs from the recorded one.
    private static async Task<List<string>> AskAsync(FakeEdge edge, Substitutes known, List<JsonObject> lines, JsonNode request)
    {
        var id = request.Text("header", "msg_id");
        var recorded = lines.Select(line => line["message"]).Single(message => message.Text("header", "parent_msg_id") == id)!;
        var content = known.Apply(request["content"]);
        var sent = await edge.SendAsync(
            request.Text("route", "source"), request.Text("route", "group"), request.Text("route", "operation"), request.Text("route", "resource"), content);
        var answer = await edge.UntilAsync(message => message.ParentId == sent.Id);
        var ours = FakeEdge.Content(answer);
        known.Learn(recorded["content"], ours);
        var problems = new List<string>();
        void Same(string what, string theirs, string own)
        {
            if (theirs != own)
                problems.Add($"{what} is '{own}', recorded '{theirs}'");
        }

        Same("source", recorded.Text("route", "source"), answer.Source);
        Same("group", recorded.Text("route", "group"), answer.Group);
        Same("operation", recorded.Text("route", "operation"), answer.Operation);
        Same("resource", recorded.Text("route", "resource"), answer.Resource);
        if (recorded.Text("header", "resourceversion").Length > 0 && answer.ResourceVersion.Length == 0)
            problems.Add("resourceversion is missing");
        if (recorded["content"] is JsonValue text)
            Same("content", text.ToJsonString(), ours?.ToJsonString() ?? "null");
        else
            problems.AddRange(Shape.Missing(recorded["content"], ours));
        // The stock edge decides by these two.
        foreach (var path in (string[][])[["Err", "ErrStatus", "reason"], ["Err", "ErrStatus", "code"]])
            Same(string.Join('.', path), recorded["content"].At(path)?.ToJsonString() ?? "", ours.At(path)?.ToJsonString() ?? "");
        return [.. problems.Select(problem => $"{Recording.Route(request)}: {problem}")];
    }

    // A stock cloud tells an edge the status of a pod that the edge itself has just reported; ours does not.
    private static bool IsOwnStatus(JsonNode recorded) => Recording.Route(recorded) == "update default/pod/web" && !recorded["content"]!.AsObject().IsDeleting();

    // Waits for what the recorded cloud sent of itself; returns how ours differs.
    private static async Task<List<string>> ComparePushAsync(FakeEdge edge, Substitutes known, JsonNode recorded, int before)
    {
        var route = Recording.Route(recorded);
        bool IsIt(Message message) => message.ParentId.Length == 0 && $"{message.Operation} {message.Resource}" == route;
        var ours = edge.Received.Skip(before).FirstOrDefault(IsIt) ?? await edge.UntilAsync(IsIt, orBefore: false);
        var content = FakeEdge.Content(ours);
        known.Learn(recorded["content"], content);
        List<string> problems = [.. Shape.Missing(recorded["content"], content)];
        if ((ours.Source, ours.Group) != (recorded.Text("route", "source"), recorded.Text("route", "group")))
            problems.Add($"comes from {ours.Source} in group {ours.Group}, recorded {recorded.Text("route", "source")} and {recorded.Text("route", "group")}");
        if (recorded.Text("header", "resourceversion").Length > 0 != ours.ResourceVersion.Length > 0)
            problems.Add($"resourceversion is '{ours.ResourceVersion}', recorded '{recorded.Text("header", "resourceversion")}'");
        return [.. problems.Select(problem => $"{route}: {problem}")];
    }

    // What was done from outside while the exchange was recorded; the messages it leads to are awaited where later requests build on them.
    private static async Task ActAsync(WholeCloud cloud, FakeEdge edge, List<JsonObject> lines, string step)
    {
        switch (step)
        {
            case "pod with ConfigMap and Secret created":
                await cloud.CreateAsync(ResourceKind.ConfigMap, Recording.Manifest(lines, Operations.Response, "default/configmap/app"));
                await cloud.CreateAsync(ResourceKind.Secret, Recording.Manifest(lines, Operations.Response, "default/secret/cred"));
                await cloud.CreateAsync(ResourceKind.Pod, Recording.Manifest(lines, Operations.Insert, "default/pod/web"));
                await edge.UntilAsync(Operations.Insert, "default/pod/web");
                break;
            case "ConfigMap updated":
                await MergeAsync(cloud, ResourceKind.ConfigMap, "app", "data", Recording.Manifest(lines, Operations.Update, "default/configmap/app"));
                await edge.UntilAsync(message => message is { Operation: Operations.Update, Resource: "default/configmap/app" }, orBefore: false);
                break;
            case "DeviceModel and Device created":
                await cloud.CreateAsync(ResourceKind.DeviceModel, Recording.Manifest(lines, Operations.Insert, "default/devicemodel/thermo-model"));
                await cloud.CreateAsync(ResourceKind.Device, Recording.Manifest(lines, Operations.Insert, "default/device/thermo"));
                await edge.UntilAsync(Operations.Insert, "default/device/thermo");
                break;
            case "desired value patched":
                await MergeAsync(cloud, ResourceKind.Device, "thermo", "spec", Recording.Manifest(lines, Operations.Update, "default/device/thermo"));
                await edge.UntilAsync(Operations.Update, "default/device/thermo");
                break;
            case "pod deleted":
                await cloud.Kube.DeleteAsync(ResourceKind.Pod, "default", "web", null, CancellationToken.None);
                await edge.UntilAsync(message => message.Resource == "default/pod/web" && FakeEdge.Content(message)!.AsObject().IsDeleting());
                break;
            case "device deleted":
                await cloud.Kube.DeleteAsync(ResourceKind.Device, "default", "thermo", null, CancellationToken.None);
                await edge.UntilAsync(Operations.Delete, "default/device/thermo");
                break;
            default:
                // Done at the edge: what it then sends is in the recording itself.
                Assert.Contains(step, (string[])["twin reported over MQTT twice", "device state reported over MQTT", "edge application publishes user data"]);
                break;
        }
    }

    private static Task MergeAsync(WholeCloud cloud, ResourceKind kind, string name, string field, JsonObject from)
        => cloud.Kube.PatchAsync(
            kind, "default", name, PatchKind.Merge, Encoding.UTF8.GetBytes(new JsonObject { [field] = from[field]!.DeepClone() }.ToJsonString()), null, CancellationToken.None);
}
