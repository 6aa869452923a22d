using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Edge.Simulation.Tests.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows <see cref="NodeSync"/>: what of the cluster goes to which connected node, from one CloudCore.</summary>
internal sealed class CloudSync
{
    // Events about refused objects go to nobody here.
    private static readonly HubMetrics s_metrics = new();
    private static readonly EventRecorder s_events = new(new NoKube(), TimeProvider.System, s_metrics, NullLogger.Instance);

    private readonly NodeSync _core;
    private readonly World _world;
    private readonly SimScheduler _scheduler = new();
    private readonly NodePicture? _secretsSkipped;
    private readonly string _id;

    public CloudSync(World world, CloudProcess cloud)
    {
        _world = world;
        _id = $"cloud{cloud.Index}";
        _core = new NodeSync(new SimKube(world, cloud), new SimTime(world, cloud), new Random(world.Random.Next()), s_events, s_metrics, NullLogger.Instance, _scheduler);
        _secretsSkipped = world.Bug == PlantedBug.InventorySkipsSecrets ? new NodePicture() : null;
        Pump();
    }

    /// <summary>True while a comparison hands its outcome to the session.</summary>
    public bool IsComparing { get; private set; }

    /// <summary>Runs what the core left to be done behind.</summary>
    public void Pump() => _scheduler.Pump();

    /// <summary>Runs a task of this CloudCore beside the core's own.</summary>
    public void Start(Func<Task> run) => _scheduler.Start(run);

    /// <summary>The object as its watch has shown it.</summary>
    public JsonObject? Seen(Watched kind, string name) => kind == Watched.Node ? _core.Node(name) : _core.Pod("default", name);

    public void Changed(Watched kind, ObjectChange change)
    {
        _core.Changed(ClusterModel.KindOf(kind), change);
        _secretsSkipped?.Changed(kind, change, []);
    }

    /// <summary>Every kind has been listed: nodes may connect, and are claimed.</summary>
    public void Ready()
    {
        _core.CachesFilled();
        _core.Identify(new CloudCoreIdentity($"10.0.0.{_id[^1]}", _id));
    }

    /// <summary>Whether the Node says that it is connected here.</summary>
    public bool IsNamedBy(JsonObject node) => node.Annotation(CloudCoreIdentity.IdAnnotation) == _id;

    public void Register(CloudSession session)
    {
        if (!_core.TryRegister(session, int.MaxValue))
            throw new InvalidOperationException($"{session.Node} was not taken");
    }

    public void Unregister(CloudSession session)
    {
        var whose = _world.Bug == PlantedBug.OldEndClearsNewSession ? _core.SessionOf(session.Node) : session;
        if (whose is not null)
            _core.Unregister(whose);
    }

    public CloudSession? SessionOf(string node) => (CloudSession?)_core.SessionOf(node);

    public bool Uses(string node, string type, string name) => _core.Uses(node, new ConfigKey(type, "default", name));

    public void Refused(CloudSession session, DownObject obj) => _core.Refused(session, obj, "refused");

    public void OpenWithEverything(CloudSession session) => Compare(() => _core.OpenWithEverything(session));

    /// <summary>The answer to the digest that an edge told, as it goes over the wire.</summary>
    public ReadOnlyMemory<byte> AnswerDigest(CloudSession session, ReadOnlyMemory<byte> content)
    {
        var digest = InventoryMessages.ReadDigest(content, out var error) ?? throw new InvalidOperationException(error);
        foreach (var obj in _secretsSkipped?.All(session.Node) ?? [])
        {
            if (InventoryExchange.IsSecret(obj.Resource))
                digest.Add(obj.Resource, obj.Uid, obj.Body.Fingerprint);
        }

        ReadOnlyMemory<byte> answer = default;
        Compare(() => answer = _core.AnswerDigest(session, digest));
        return answer;
    }

    /// <summary>The edge told some buckets; <paramref name="done"/> hears when all that it leads to was handed over.</summary>
    public void ApplyPart(CloudSession session, ReadOnlyMemory<byte> content, Action done)
    {
        var part = InventoryMessages.ReadPart(content, out var error) ?? throw new InvalidOperationException(error);
        _scheduler.Start(async () =>
        {
            Task work = Task.CompletedTask;
            Compare(() => work = _core.ApplyPartAsync(session, part, CancellationToken.None));
            await work;
            done();
        });
    }

    private void Compare(Action action)
    {
        IsComparing = true;
        action();
        IsComparing = false;
    }

    private sealed class NoKube : IKubeClient
    {
        public Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken) => throw new NotSupportedException();

        public IAsyncEnumerable<WatchEvent> WatchAsync(ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken) => Task.FromResult(obj);

        public Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject> PatchAsync(ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
            => Task.FromResult(new JsonObject());

        public Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject> CreateSubresourceAsync(ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken) => throw new NotSupportedException();
    }
}
