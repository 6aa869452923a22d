using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Containerd;
using Edge.Testing;

namespace Edge.Interop.Tests.Pods;

/// <summary>What tests of pods do with kubectl and read from the API; all pods are in the namespace default, on edge-1.</summary>
internal static class PodSteps
{
    /// <summary>A net for machines that do much else.</summary>
    public static readonly TimeSpan Long = TimeSpan.FromMinutes(3);

    /// <summary>Ends at SIGTERM; a bare sleep as the first process of its container would not.</summary>
    public const string Sleep = """["sh","-c","trap 'exit 0' TERM; sleep 100000 & wait"]""";

    /// <summary>A pod of one container c that sleeps, as JSON; <paramref name="container"/> and <paramref name="spec"/> are more members, each with a comma before it.</summary>
    public static string Pod(string name, string spec = "", string container = "")
        => Manifest(name, $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":{{Sleep}}{{container}}}""", spec);

    /// <summary>A pod with these containers.</summary>
    public static string Manifest(string name, string containers, string spec = "") => $$"""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{name}}","labels":{"app":"{{name}}"} },
         "spec":{"nodeName":"edge-1","terminationGracePeriodSeconds":5,"tolerations":[{"operator":"Exists"}],"automountServiceAccountToken":false,"containers":[{{containers}}]{{spec}} } }
        """;

    /// <summary><c>kubectl apply</c> of several objects at once.</summary>
    public static Task<string> ApplyAsync(this TestEdge edge, params IEnumerable<string> objects)
        => edge.KubectlAsync("apply -f -", $$"""{"apiVersion":"v1","kind":"List","items":[{{string.Join(',', objects)}}]}""");

    /// <summary>Deletes without waiting.</summary>
    public static Task<string> DeleteAsync(this TestEdge edge, params string[] names)
        => edge.KubectlAsync(["delete", "pod", .. names, "--ignore-not-found", "--wait=false"]);

    /// <summary>The pod, or an empty object when there is none.</summary>
    public static async Task<JsonObject> PodAsync(this TestEdge edge, string name)
        => await edge.Client.TryGetAsync(ResourceKind.Pod, "default", name, CancellationToken.None) ?? [];

    public static async Task<IReadOnlyList<JsonObject>> PodsAsync(this TestEdge edge)
        => (await edge.Client.ListAsync(ResourceKind.Pod, "default", new ListOptions(), CancellationToken.None)).Items;

    /// <summary>Waits until the pod is as <paramref name="condition"/> wants it, and returns it.</summary>
    public static async Task<JsonObject> PodWhenAsync(this TestEdge edge, string name, string what, Func<JsonObject, bool> condition)
    {
        JsonObject pod = [];
        await edge.WaitForAsync($"pod {name} {what}", async () => condition(pod = await edge.PodAsync(name)), Long);
        return pod;
    }

    /// <summary>Waits until the pod is ready, and returns it.</summary>
    public static Task<JsonObject> ReadyAsync(this TestEdge edge, string name) => edge.PodWhenAsync(name, "is ready", IsReady);

    public static bool IsReady(JsonObject pod) => pod.Text("status", "phase") == "Running" && Condition(pod, "Ready") == "True";

    public static string Condition(JsonObject obj, string type)
        => obj.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") == type).Text("status");

    /// <summary>The first container's status.</summary>
    public static JsonObject Container(JsonObject pod) => pod.Items("status", "containerStatuses").First();

    /// <summary>The id that the runtime knows the first container by.</summary>
    public static string ContainerId(JsonObject pod) => Container(pod).Text("containerID").Replace("containerd://", "", StringComparison.Ordinal);

    public static long Restarts(JsonObject pod) => Container(pod).Number(-1, "restartCount");

    /// <summary>Why the first container waits: its reason and message.</summary>
    public static (string Reason, string Message) Waiting(JsonObject pod)
        => pod.Items("status", "containerStatuses").FirstOrDefault() is { } status ? (status.Text("state", "waiting", "reason"), status.Text("state", "waiting", "message")) : ("", "");

    /// <summary>The events of a pod as <c>kubectl get events</c> has them, each as <c>Type Reason: message</c>.</summary>
    public static async Task<IReadOnlyList<string>> EventsAsync(this TestEdge edge, string name)
    {
        var list = JsonNode.Parse(await edge.KubectlAsync("get events -o json"));
        return [.. list.Items("items").Where(one => one.Text("involvedObject", "kind") == "Pod" && one.Text("involvedObject", "name") == name)
            .Select(one => $"{one.Text("type")} {one.Text("reason")}: {one.Text("message")}")];
    }

    /// <summary>Waits for an event of the pod that begins with <paramref name="start"/>, and returns it.</summary>
    public static async Task<string> EventAsync(this TestEdge edge, string name, string start)
    {
        string? found = null;
        await edge.WaitForAsync(
            $"pod {name} has an event '{start}'",
            async () => (found = (await edge.EventsAsync(name)).FirstOrDefault(text => text.StartsWith(start, StringComparison.Ordinal))) is not null,
            Long);
        return found!;
    }
}
