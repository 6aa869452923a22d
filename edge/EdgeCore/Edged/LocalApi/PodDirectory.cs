using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged.StaticPods;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged.LocalApi;

/// <summary>The log that a request means.</summary>
/// <param name="ContainerId">Empty when the runtime was not there to ask, or has removed it.</param>
/// <param name="Ended">Whether nothing more comes.</param>
internal sealed record LogSource(string Path, string ContainerId, bool Ended);

/// <summary>Finds pods in the store and their containers at the runtime.</summary>
internal sealed class PodDirectory(EdgedOptions options, string nodeName, IMetaStore meta, CriClient cri)
{
    /// <summary>The pods of this node as a v1 PodList, each with the status that this node said last.</summary>
    public JsonObject List()
    {
        var said = PodRows.Statuses.Load(meta);
        var items = new JsonArray();
        foreach (var stored in meta.List("pod").OrderBy(pod => pod.Key, StringComparer.Ordinal))
        {
            if (Parse(stored) is not { } pod || StaticPodFile.IsMirror(pod))
                continue;
            if (said.TryGetValue(stored.Uid, out var status))
                pod["status"] = status;
            items.Add((JsonNode)pod);
        }

        // In their mirrors' places, which may not be there yet.
        foreach (var pod in PodRows.Statics.Load(meta).Values.OrderBy(pod => pod.Name(), StringComparer.Ordinal))
        {
            if (said.TryGetValue(pod.Uid(), out var status))
                pod["status"] = status;
            items.Add((JsonNode)pod);
        }

        return new JsonObject { ["kind"] = "PodList", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["items"] = items };
    }

    /// <summary>The pod.</summary>
    /// <param name="uid">When given, the pod must have it.</param>
    /// <exception cref="LocalApiRefusal">404.</exception>
    public PodDescription Pod(string @namespace, string name, string? uid)
    {
        var stored = meta.Get("pod", @namespace, name);
        foreach (var own in PodRows.Statics.Load(meta).Values)
        {
            if (own.Namespace() == @namespace && own.Name() == name && (uid is null || uid == own.Uid() || uid == stored?.Uid) && PodDescription.TryRead(own, out var found, out _))
                return found;
        }

        if (stored is not null && (uid is null || stored.Uid == uid) && Parse(stored) is { } json
            && PodDescription.TryRead(json, out var pod, out _))
            return pod;
        throw new LocalApiRefusal(404, uid is null ? $"pod {@namespace}/{name} does not exist on this node" : $"pod {@namespace}/{name} with uid {uid} does not exist on this node");
    }

    /// <summary>The container as the pod wants it.</summary>
    /// <exception cref="LocalApiRefusal">404.</exception>
    public static ContainerDescription Container(PodDescription pod, string name)
        => pod.AllContainers.FirstOrDefault(container => container.Name == name)
            ?? throw new LocalApiRefusal(
                404, $"container {name} is not in pod {pod.Namespace}/{pod.Name}; it has {string.Join(", ", pod.AllContainers.Select(container => container.Name))}");

    /// <summary>The id of the container that runs now.</summary>
    /// <exception cref="LocalApiRefusal">404, none of that name runs.</exception>
    /// <exception cref="GrpcException">The runtime does not answer.</exception>
    public async Task<string> RunningAsync(PodDescription pod, string container, CancellationToken cancellationToken)
        => (await ContainersAsync(pod, container, cancellationToken)).FirstOrDefault(one => one.State == ContainerState.ContainerRunning)?.Id
            ?? throw new LocalApiRefusal(404, $"container {container} of pod {pod.Namespace}/{pod.Name} is not running");

    /// <summary>The id of the pod's sandbox.</summary>
    /// <exception cref="LocalApiRefusal">404, it has none that is ready.</exception>
    /// <exception cref="GrpcException">The runtime does not answer.</exception>
    public async Task<string> SandboxAsync(PodDescription pod, CancellationToken cancellationToken)
    {
        var filter = new PodSandboxFilter { State = new PodSandboxStateValue { State = PodSandboxState.SandboxReady } };
        filter.LabelSelector[CriConfigs.UidLabel] = pod.Uid;
        filter.LabelSelector[CriConfigs.NodeLabel] = nodeName;
        return (await cri.ListPodSandboxAsync(filter, cancellationToken)).MaxBy(sandbox => sandbox.Metadata.Attempt)?.Id
            ?? throw new LocalApiRefusal(404, $"pod {pod.Namespace}/{pod.Name} is not running");
    }

    /// <summary>The file of a container's log. While the runtime does not answer, and of a pod that has ended and whose containers are gone, the files themselves say which there are.</summary>
    /// <exception cref="LocalApiRefusal">400, the container has not run, or not before.</exception>
    public async Task<LogSource> LogAsync(PodDescription pod, string container, bool previous, CancellationToken cancellationToken)
    {
        var directory = Path.Combine(CriConfigs.LogDirectory(options, pod), container);
        var status = PodRows.Statuses.Load(meta).GetValueOrDefault(pod.Uid);
        List<(uint Attempt, bool Ended, string Id)> runs;
        try
        {
            runs = [.. (await ContainersAsync(pod, container, cancellationToken)).Where(one => one.State != ContainerState.ContainerCreated)
                .Select(one => (one.Metadata.Attempt, one.State == ContainerState.ContainerExited, one.Id))];
            if (runs.Count == 0 && status.Text("phase") is "Succeeded" or "Failed")
                runs = [.. Attempts(directory).Select(attempt => (attempt, true, ""))];
        }
        catch (GrpcException)
        {
            runs = [.. Attempts(directory).Select(attempt => (attempt, false, ""))];
        }

        var state = status.Items("containerStatuses").Concat(status.Items("initContainerStatuses")).Concat(status.Items("ephemeralContainerStatuses")).FirstOrDefault(one => one.Text("name") == container).At("state", "waiting");
        if (LogSelection.Choose(runs, state is not null, previous) is not { } chosen)
        {
            throw new LocalApiRefusal(400, previous
                ? $"previous terminated container {container} in pod {pod.Namespace}/{pod.Name} not found"
                : $"container {container} in pod {pod.Namespace}/{pod.Name} is waiting to start: {(state.Text("reason") is { Length: > 0 } reason ? reason : "ContainerCreating")}");
        }

        return new LogSource(Path.Combine(directory, string.Create(CultureInfo.InvariantCulture, $"{chosen.Attempt}.log")), chosen.Id, chosen.Ended);
    }

    private static IEnumerable<uint> Attempts(string directory)
        => !Directory.Exists(directory) ? [] : Directory.EnumerateFiles(directory, "*.log")
            .Select(file => uint.TryParse(Path.GetFileNameWithoutExtension(file), NumberStyles.None, CultureInfo.InvariantCulture, out var attempt) ? attempt : (uint?)null)
            .OfType<uint>();

    private static JsonObject? Parse(MetaObject stored)
    {
        try
        {
            return JsonNode.Parse(stored.Json.Span) as JsonObject;
        }
        catch (JsonException)
        {
            return null; // Edged has said so (event 4004)
        }
    }

    private async Task<IEnumerable<Container>> ContainersAsync(PodDescription pod, string container, CancellationToken cancellationToken)
    {
        var filter = new ContainerFilter();
        filter.LabelSelector[CriConfigs.UidLabel] = pod.Uid;
        filter.LabelSelector[CriConfigs.ContainerLabel] = container;
        filter.LabelSelector[CriConfigs.NodeLabel] = nodeName;
        return (await cri.ListContainersAsync(filter, cancellationToken)).OrderByDescending(one => one.Metadata.Attempt);
    }
}

/// <summary>Which run of a container a log request means. Pure.</summary>
internal static class LogSelection
{
    /// <summary>The run, or null when there is none. As with a kubelet, while the container waits to be started again its last run is both the one that
    /// is shown and the previous one.</summary>
    /// <param name="waiting">Whether the pod's status says that the container waits.</param>
    public static (uint Attempt, bool Ended, string Id)? Choose(IEnumerable<(uint Attempt, bool Ended, string Id)> runs, bool waiting, bool previous)
    {
        var ordered = runs.OrderByDescending(run => run.Attempt).ToList();
        if (ordered.Count == 0)
            return null;
        if (!previous || waiting && ordered[0].Ended)
            return ordered[0];
        return ordered.Count > 1 ? ordered[1] : null;
    }
}
