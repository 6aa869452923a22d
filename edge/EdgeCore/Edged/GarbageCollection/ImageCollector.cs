using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged.Eviction;
using Edge.Kubernetes;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged.GarbageCollection;

/// <summary>Removes unused images through CRI as <see cref="ImageGcCore"/> decides.</summary>
/// <param name="read">Reads how full the images' disk is.</param>
/// <param name="wanted">The pods of this node that have not ended; their images stay though their containers are still to be made.</param>
internal sealed class ImageCollector(PodContext context, Func<CancellationToken, Task<NodeReadings>> read, Func<IEnumerable<PodDescription>> wanted) : IDisposable
{
    private readonly ImageGcCore _core = new(context.Options.Resources);
    private readonly SemaphoreSlim _turn = new(1); // the period and eviction may ask at once
    private string _sandboxImage = "";

    /// <summary>One pass for the thresholds and ages.</summary>
    public async Task CollectAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            await ObserveAsync(cancellationToken);
            var disk = (await read(cancellationToken)).Signals.GetValueOrDefault(EvictionSignals.ImageFs);
            var chosen = _core.Decide(disk.Available, disk.Capacity, context.Time.GetUtcNow(), out var toFree);
            var freed = await RemoveAsync(chosen, cancellationToken);
            if (toFree > freed)
                EdgedLog.ImagesStay(context.Log, toFree, freed);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Removes every unused image; returns the bytes that they had.</summary>
    public async Task<long> RemoveUnusedAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            await ObserveAsync(cancellationToken);
            return await RemoveAsync(_core.AllUnused(), cancellationToken);
        }
        catch (GrpcException e)
        {
            EdgedLog.RuntimeMissing(context.Log, context.Cri.SocketPath, e.Detail);
            return 0;
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose() => _turn.Dispose();

    /// <summary>A name with what a short one leaves out: <c>busybox</c> is <c>docker.io/library/busybox:latest</c>.</summary>
    internal static string FullName(string image)
    {
        var name = image;
        var slash = name.IndexOf('/', StringComparison.Ordinal);
        var host = slash < 0 ? "" : name[..slash];
        if (slash < 0)
            name = "docker.io/library/" + name;
        else if (!host.Contains('.', StringComparison.Ordinal) && !host.Contains(':', StringComparison.Ordinal) && host != "localhost")
            name = "docker.io/" + name;
        return name.Contains('@', StringComparison.Ordinal) || name.LastIndexOf(':') > name.LastIndexOf('/') ? name : name + ":latest";
    }

    private async Task ObserveAsync(CancellationToken cancellationToken)
    {
        var used = wanted().SelectMany(pod => pod.AllContainers).Select(container => FullName(container.Image)).ToHashSet(StringComparer.Ordinal);

        // All containers of the runtime, other nodes' too: the images are shared.
        foreach (var container in await context.Cri.ListContainersAsync(null, cancellationToken))
            used.UnionWith([container.ImageRef, container.Image?.Image ?? "", container.ImageId]);
        if (_sandboxImage.Length == 0)
            _sandboxImage = await SandboxImageAsync(cancellationToken);
        var images = (await context.Cri.ListImagesAsync(cancellationToken)).Select(image =>
        {
            string[] names = [.. image.RepoTags, .. image.RepoDigests];
            // Without a name for the sandboxes' image, any that looks like it stays: a node without it runs no pod, and may have no registry.
            var pause = _sandboxImage.Length > 0 ? names.Contains(_sandboxImage, StringComparer.Ordinal) : names.Any(name => name.Contains("pause", StringComparison.Ordinal));
            return new ImageView(image.Id, names, (long)image.Size, image.Pinned || pause);
        }).ToList();
        _core.Observe(images, used, context.Time.GetUtcNow());
    }

    // containerd tells its configuration as a JSON text beside its status; other runtimes pin the image.
    private async Task<string> SandboxImageAsync(CancellationToken cancellationToken)
    {
        try
        {
            var details = await context.Cri.StatusDetailsAsync(cancellationToken);
            return details.Info.TryGetValue("config", out var config) && JsonNode.Parse(config) is { } json && json.Text("sandboxImage") is { Length: > 0 } image ? FullName(image) : "";
        }
        catch (JsonException)
        {
            return "";
        }
    }

    private async Task<long> RemoveAsync(IEnumerable<ImageView> images, CancellationToken cancellationToken)
    {
        long freed = 0;
        foreach (var image in images)
        {
            try
            {
                await context.Cri.RemoveImageAsync(image.Id, cancellationToken);
                freed += image.Bytes;
                EdgedLog.ImageRemoved(context.Log, image.Names.Count > 0 ? image.Names[0] : image.Id, image.Bytes);
            }
            catch (GrpcException e) when (e.Code != GrpcStatusCode.Unavailable)
            {
                EdgedLog.ImageNotRemoved(context.Log, image.Id, e.Detail);
            }
        }

        return freed;
    }
}
