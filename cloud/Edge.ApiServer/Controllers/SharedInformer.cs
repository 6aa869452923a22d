using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers;

/// <summary>One informer that several controllers read and listen to. Add all listeners before <see cref="Start"/>.</summary>
internal sealed class SharedInformer(Informer informer) : IAsyncDisposable
{
    private readonly List<Action<ObjectChange>> _listeners = [];

    public ResourceKind Kind => informer.Kind;

    public Task Synced => informer.Synced;

    public JsonObject? Get(string? @namespace, string name) => informer.Get(@namespace, name);

    public IReadOnlyCollection<JsonObject> List() => informer.List();

    public void Listen(Action<ObjectChange> listener) => _listeners.Add(listener);

    public void Start() => informer.Start((change, _) =>
    {
        foreach (var listener in _listeners)
            listener(change);
        return default;
    });

    public ValueTask DisposeAsync() => informer.DisposeAsync();
}
