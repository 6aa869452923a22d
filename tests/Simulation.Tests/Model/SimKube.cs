using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Simulation.Tests.Model;

/// <summary>The API as one CloudCore calls it: each way takes its time, a request may fail before or after it took effect, and one of a process that has crashed is answered to nobody.</summary>
/// <param name="reported">Called when a status takes effect; true when the caller will learn of it.</param>
internal sealed class SimKube(World world, CloudProcess cloud, Action<bool>? reported = null) : IKubeClient
{
    public async Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
    {
        // Planted: whoever asks what the watch cannot judge is told that there is no such object.
        if (world.Bug == PlantedBug.DoubtNotAsked && reported is null)
            return null;
        if (kind == ResourceKind.DeviceStatus)
            return await CallAsync(() => world.Cluster.DeviceStatus(name), isWrite: false);
        return await CallAsync(() => world.Cluster.Find(WatchedOf(kind), name)?.DeepClone().AsObject(), isWrite: false);
    }

    public async Task<JsonObject> PatchAsync(ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
    {
        if (subresource == "status")
            return (await CallAsync(() => world.Cluster.PatchStatus(kind, name, JsonNode.Parse(patch.Span)!.AsObject()), isWrite: true, reported))!;
        if (kind != ResourceKind.Node || patchKind != PatchKind.Merge || subresource is not null)
            throw new NotSupportedException($"a patch of {kind.Kind}");
        var change = JsonNode.Parse(patch.Span)!.AsObject();
        return (await CallAsync(() => world.Cluster.AnnotateNode(name, change), isWrite: true))!;
    }

    public Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken) => throw new NotSupportedException();

    public IAsyncEnumerable<WatchEvent> WatchAsync(ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<JsonObject> CreateSubresourceAsync(ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken) => throw new NotSupportedException();

    private static Watched WatchedOf(ResourceKind kind)
    {
        for (var watched = Watched.Node; watched <= Watched.Device; watched++)
        {
            if (ClusterModel.KindOf(watched) == kind)
                return watched;
        }

        throw new NotSupportedException($"reading {kind.Kind}");
    }

    private Task<JsonObject?> CallAsync(Func<JsonObject?> take, bool isWrite, Action<bool>? took = null)
    {
        var answer = new TaskCompletionSource<JsonObject?>(TaskCreationOptions.RunContinuationsAsynchronously);
        world.Between(1, world.Profile.ApiMsMax, cloud, () =>
        {
            if (isWrite && !cloud.Effect())
                return;
            var fails = world.HasFaults && world.Chance(world.Profile.ApiFailShare);
            JsonObject? taken = null;
            KubeException? refusal = null;
            if (!fails || world.Random.Next(2) == 0)
            {
                try
                {
                    taken = take();
                    took?.Invoke(!fails);
                }
                catch (KubeException e)
                {
                    refusal = e;
                }
            }

            if (fails)
                refusal = new KubeException(0, "", "the connection broke");
            // The way back takes its time, too.
            world.Between(1, world.Profile.ApiMsMax, cloud, () =>
            {
                if (refusal is null)
                    answer.SetResult(taken);
                else
                    answer.SetException(refusal);
            });
        });
        return answer.Task;
    }
}
