using Edge.ApiServer.Controllers.GarbageCollection;
using Edge.ApiServer.Controllers.Housekeeping;
using Edge.ApiServer.Controllers.Namespaces;
using Edge.ApiServer.Controllers.Nodes;
using Edge.ApiServer.Controllers.Scheduling;
using Edge.ApiServer.Controllers.Services;
using Edge.ApiServer.Controllers.Volumes;
using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers;

/// <summary>What a cluster's control plane does beside its API: scheduler, node lifecycle, garbage collection, namespaces, Endpoints and EndpointSlices, persistent volumes,
/// workloads, housekeeping. For the embedded API; a real cluster has its own.</summary>
public sealed class EmbeddedControllers : IAsyncDisposable
{
    private readonly List<IAsyncDisposable> _parts = [];

    private EmbeddedControllers()
    {
    }

    /// <summary>Starts all controllers; they wait for the API by themselves. Dispose stops them before the API server may stop.</summary>
    /// <param name="client">Kept, not disposed.</param>
    /// <param name="time">Clock of grace periods and retries.</param>
    /// <param name="random">Seeds the jitter of retries.</param>
    /// <param name="loggers">Logger categories are named for the controllers.</param>
    /// <param name="rootCaPem">The CA for <c>kube-root-ca.crt</c>; null takes the one that <paramref name="client"/> trusts, where it is a <see cref="KubeClient"/>.</param>
    public static EmbeddedControllers Start(IKubeClient client, TimeProvider time, Random random, ILoggerFactory loggers, string? rootCaPem = null)
    {
        var all = new EmbeddedControllers();
        var informerLogger = loggers.CreateLogger<Informer>();

        // Each part jitters with a Random of its own: Random is not safe for several threads.
        SharedInformer Inform(ResourceKind kind, bool metadataOnly) => new(
            new Informer(client, kind, null, new ListOptions { IsMetadataOnly = metadataOnly }, time, new Random(random.Next()), informerLogger)
            {
                Transform = metadataOnly ? obj => GarbageCollector.MetadataOnly(kind, obj) : null,
            });

        // CRDs' informers are made later, by one thread; theirs must not share `random` with the caller.
        var customRandom = new Random(random.Next());
        SharedInformer InformCustom(ResourceKind kind) => new(
            new Informer(client, kind, null, new ListOptions { IsMetadataOnly = true }, time, new Random(customRandom.Next()), informerLogger)
            {
                Transform = obj => GarbageCollector.MetadataOnly(kind, obj),
            });

        var builtIn = CrdKinds.BuiltIn.ToDictionary(
            kind => kind,
            kind => Inform(kind, metadataOnly: kind == ResourceKind.ConfigMap || kind == ResourceKind.Secret || kind == ResourceKind.ServiceAccount));
        var (pods, nodes, crds) = (builtIn[ResourceKind.Pod], builtIn[ResourceKind.Node], builtIn[ResourceKind.CustomResourceDefinition]);

        var (claims, volumes, classes) = (builtIn[ResourceKind.PersistentVolumeClaim], builtIn[ResourceKind.PersistentVolume], builtIn[ResourceKind.StorageClass]);

        Random Own() => new(random.Next());
        var scheduler = new SchedulerController(client, kind => builtIn[kind], time, Own(), loggers.CreateLogger<SchedulerController>());
        var lifecycle = new NodeLifecycleController(client, nodes, builtIn[ResourceKind.Lease], pods, time, Own(), loggers.CreateLogger<NodeLifecycleController>());
        var garbage = new GarbageCollector(client, [.. builtIn.Values], crds, InformCustom, time, Own(), loggers.CreateLogger<GarbageCollector>());
        var namespaces = new NamespaceController(
            client,
            builtIn[ResourceKind.Namespace],
            builtIn[ResourceKind.ServiceAccount],
            builtIn[ResourceKind.ConfigMap],
            crds,
            rootCaPem ?? (client as KubeClient)?.Options.CertificateAuthorityPem,
            time,
            Own(),
            loggers.CreateLogger<NamespaceController>());
        var endpoints = new EndpointsController(
            client, builtIn[ResourceKind.Service], builtIn[ResourceKind.Endpoints], pods, nodes, time, Own(), loggers.CreateLogger<EndpointsController>());
        var slices = new EndpointSliceController(
            client, builtIn[ResourceKind.Service], builtIn[ResourceKind.EndpointSlice], pods, nodes, time, Own(), loggers.CreateLogger<EndpointSliceController>());
        var binder = new VolumeController(client, claims, volumes, classes, pods, time, Own(), loggers.CreateLogger<VolumeController>());
        var podGc = new PodGcController(client, pods, nodes, time, Own(), loggers.CreateLogger<PodGcController>());
        var eventTtl = new EventTtl(client, time, Own(), loggers.CreateLogger<EventTtl>());

        var workloads = WorkloadControllers.Make(client, builtIn, time, Own, loggers.CreateLogger<WorkloadController>());

        // Informers start last, when all have begun to listen; they stop last, too.
        all._parts.AddRange([scheduler, lifecycle, garbage, namespaces, endpoints, slices, binder, podGc, eventTtl, .. workloads, .. builtIn.Values]);
        scheduler.Start();
        lifecycle.Start();
        garbage.Start();
        namespaces.Start();
        endpoints.Start();
        slices.Start();
        binder.Start();
        podGc.Start();
        eventTtl.Start();
        foreach (var controller in workloads)
            controller.Start();
        foreach (var informer in builtIn.Values)
            informer.Start();
        return all;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var part in _parts)
            await part.DisposeAsync();
    }
}
