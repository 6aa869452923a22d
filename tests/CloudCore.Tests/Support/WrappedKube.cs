using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.Tests.Support;

/// <summary>An API that does not answer.</summary>
internal sealed class FailingKube(IKubeClient? inner = null) : WrappedKube(inner)
{
    private readonly bool _hasNothing = inner is null;

    /// <summary>From now on it answers; without another API behind it, that it has nothing.</summary>
    public bool Answers { get; set; }

    /// <summary>The status of its refusals; 0 where it cannot be reached.</summary>
    public int Code { get; init; }

    public int Calls { get; private set; }

    protected override Task<T> CallAsync<T>(Func<Task<T>> call)
    {
        Calls++;
        if (!Answers)
            return Task.FromException<T>(new KubeException(Code, "", "no answer"));
        return _hasNothing ? Task.FromResult<T>(default!) : call();
    }
}

/// <summary>An API that tells when a call begins and ends, and lets others run in between.</summary>
internal sealed class SlowKube(IKubeClient inner, Action begins, Action ends) : WrappedKube(inner)
{
    protected override async Task<T> CallAsync<T>(Func<Task<T>> call)
    {
        begins();
        await Task.Yield();
        try
        {
            return await call();
        }
        finally
        {
            ends();
        }
    }
}

/// <summary>An API whose watches tell nothing until the test says so, and that can be kept from answering.</summary>
internal sealed class BlindKube(IKubeClient inner) : WrappedKube(inner)
{
    private int _reads;

    /// <summary>Watches tell what they have seen once this has ended.</summary>
    public TaskCompletionSource Sight { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool Answers { get; set; } = true;

    public int Reads => Volatile.Read(ref _reads);

    public override async IAsyncEnumerable<WatchEvent> WatchAsync(
        ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var change in base.WatchAsync(kind, @namespace, resourceVersion, options, cancellationToken))
        {
            await Sight.Task.WaitAsync(cancellationToken);
            yield return change;
        }
    }

    protected override Task<T> CallAsync<T>(Func<Task<T>> call)
    {
        Interlocked.Increment(ref _reads);
        return Answers ? call() : Task.FromException<T>(new KubeException(0, "", "no answer"));
    }
}

/// <summary>Another API with something done round each call; watches pass through.</summary>
internal abstract class WrappedKube(IKubeClient? inner = null) : IKubeClient
{
    public Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
        => CallAsync(() => inner!.GetAsync(kind, @namespace, name, cancellationToken));

    public Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
        => CallAsync(() => inner!.TryGetAsync(kind, @namespace, name, cancellationToken));

    public Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken)
        => CallAsync(() => inner!.ListAsync(kind, @namespace, options, cancellationToken));

    public virtual IAsyncEnumerable<WatchEvent> WatchAsync(ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, CancellationToken cancellationToken)
        => inner!.WatchAsync(kind, @namespace, resourceVersion, options, cancellationToken);

    public Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken)
        => CallAsync(() => inner!.CreateAsync(kind, @namespace, obj, cancellationToken));

    public Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken)
        => CallAsync(() => inner!.UpdateAsync(kind, @namespace, obj, subresource, cancellationToken));

    public Task<JsonObject> PatchAsync(
        ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
        => CallAsync(() => inner!.PatchAsync(kind, @namespace, name, patchKind, patch, subresource, cancellationToken));

    public Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken)
        => CallAsync(() => inner!.DeleteAsync(kind, @namespace, name, options, cancellationToken));

    public Task<JsonObject> CreateSubresourceAsync(
        ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken)
        => CallAsync(() => inner!.CreateSubresourceAsync(kind, @namespace, name, subresource, body, cancellationToken));

    protected abstract Task<T> CallAsync<T>(Func<Task<T>> call);
}
