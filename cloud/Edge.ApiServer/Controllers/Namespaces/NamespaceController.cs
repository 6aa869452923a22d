using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Namespaces;

/// <summary>Empties and finishes namespaces that are deleted; gives every other its default ServiceAccount and the API's CA.</summary>
internal sealed partial class NamespaceController : IAsyncDisposable
{
    private const string Finalizer = "kubernetes";
    private const string RootCa = "kube-root-ca.crt";
    private static readonly TimeSpan s_pollMin = TimeSpan.FromSeconds(0.2);
    private static readonly TimeSpan s_pollMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly IKubeClient _client;
    private readonly SharedInformer _namespaces;
    private readonly SharedInformer _accounts;
    private readonly SharedInformer _configMaps;
    private readonly SharedInformer _crds;
    private readonly string? _rootCaPem;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ReconcileLoop _loop;
    private readonly Dictionary<string, (DateTimeOffset At, TimeSpan Wait)> _emptying = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _caVersions = new(StringComparer.Ordinal);

    /// <param name="rootCaPem">The certificate that clients in pods need to trust the API; null writes no ConfigMap.</param>
    public NamespaceController(
        IKubeClient client,
        SharedInformer namespaces,
        SharedInformer accounts,
        SharedInformer configMaps,
        SharedInformer crds,
        string? rootCaPem,
        TimeProvider time,
        Random random,
        ILogger logger)
    {
        _client = client;
        _namespaces = namespaces;
        _accounts = accounts;
        _configMaps = configMaps;
        _crds = crds;
        _rootCaPem = rootCaPem;
        _time = time;
        _logger = logger;
        _loop = new ReconcileLoop("namespaces", PassAsync, time, random, logger);
        namespaces.Listen(_ => _loop.Wake());
        accounts.Listen(change => WakeFor(change, "default"));
        configMaps.Listen(change => WakeFor(change, RootCa));
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    private void WakeFor(ObjectChange change, string name)
    {
        if (change.Object.Name() == name)
            _loop.Wake();
    }

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_namespaces.Synced, _accounts.Synced, _configMaps.Synced, _crds.Synced).WaitAsync(token);
        TimeSpan? next = null;
        var all = _namespaces.List();
        foreach (var gone in _emptying.Keys.Except(all.Select(space => space.Uid())).ToList())
            _emptying.Remove(gone);
        foreach (var gone in _caVersions.Keys.Except(all.Select(space => space.Name())).ToList())
            _caVersions.Remove(gone);
        foreach (var space in all)
        {
            TimeSpan? wait;
            try
            {
                wait = space.IsDeleting() ? await EmptyAsync(space, token) : await FurnishAsync(space.Name(), token);
            }
            catch (KubeException e)
            {
                // 403, 404 and 409 come when the namespace changed under us.
                if (e.Code is not (403 or 404 or 409))
                    LogFailed(_logger, space.Name(), e.Message);
                wait = s_retry;
            }

            if (wait is not null && (next is null || wait < next))
                next = wait;
        }

        return next;
    }

    private async Task<TimeSpan?> EmptyAsync(JsonObject space, CancellationToken token)
    {
        if (!space.Texts("spec", "finalizers").Contains(Finalizer, StringComparer.Ordinal))
            return null;
        var now = _time.GetUtcNow();
        if (_emptying.TryGetValue(space.Uid(), out var last) && now < last.At + last.Wait)
            return last.At + last.Wait - now;

        var remains = new Remains();
        foreach (var kind in CrdKinds.BuiltIn.Append(ResourceKind.Event).Concat(_crds.List().Select(CrdKinds.Read).OfType<ResourceKind>()).Where(kind => kind.Namespaced))
        {
            remains.Add(kind, await DeleteAllAsync(kind, space.Name(), token));
        }

        if (!remains.IsEmpty)
        {
            // What has finalizers, and pods that stop, take their time.
            var wait = last.Wait == default ? s_pollMin : last.Wait * 2 < s_pollMax ? last.Wait * 2 : s_pollMax;
            _emptying[space.Uid()] = (now, wait);
            LogRemaining(_logger, space.Name(), remains.ToString());
            // Most are empty at the second look: only what takes longer is said.
            if (last.Wait != default)
                await TellAsync(space, remains, now, token);
            return wait;
        }

        var fresh = await _client.TryGetAsync(ResourceKind.Namespace, null, space.Name(), token);
        if (fresh is null || fresh.Uid() != space.Uid())
            return null;
        var finalizers = new JsonArray();
        foreach (var finalizer in fresh.Texts("spec", "finalizers").Where(finalizer => finalizer != Finalizer))
            finalizers.Add((JsonNode)finalizer);
        fresh.Child("spec")["finalizers"] = finalizers;
        await _client.UpdateAsync(ResourceKind.Namespace, null, fresh, "finalize", token);
        LogEmpty(_logger, space.Name());
        return null;
    }

    private async Task TellAsync(JsonObject space, Remains remains, DateTimeOffset now, CancellationToken token)
    {
        var conditions = remains.Conditions(space, now);
        if (JsonNode.DeepEquals(conditions, space.At("status", "conditions")))
            return;
        var status = new JsonObject { ["metadata"] = new JsonObject { ["uid"] = space.Uid() }, ["status"] = new JsonObject { ["conditions"] = conditions } };
        await _client.PatchAsync(ResourceKind.Namespace, null, space.Name(), PatchKind.Merge, System.Text.Encoding.UTF8.GetBytes(status.ToJsonString()), "status", token);
    }

    // What is still there after its deletion was asked for.
    private async Task<IReadOnlyList<JsonObject>> DeleteAllAsync(ResourceKind kind, string space, CancellationToken token)
    {
        IReadOnlyList<JsonObject> items;
        try
        {
            items = (await _client.ListAsync(kind, space, new ListOptions(), token)).Items;
        }
        catch (KubeException e) when (e.Code == 404)
        {
            // A CRD that is not served yet, or no longer.
            return [];
        }

        foreach (var item in items)
        {
            if (item.IsDeleting())
                continue;
            try
            {
                await _client.DeleteAsync(kind, space, item.Name(), Preconditions.Uid(item, "Background"), token);
            }
            catch (KubeException e) when (e.Code is 404 or 409)
            {
                // Gone, or made anew; the next round looks again.
            }
        }

        return items;
    }

    private async Task<TimeSpan?> FurnishAsync(string space, CancellationToken token)
    {
        if (_accounts.Get(space, "default") is null)
            await CreateAsync(ResourceKind.ServiceAccount, space, "default", null, token);
        if (_rootCaPem is null)
            return null;
        var known = _configMaps.Get(space, RootCa);
        if (known is null)
        {
            await CreateAsync(ResourceKind.ConfigMap, space, RootCa, new JsonObject { ["ca.crt"] = _rootCaPem }, token);
        }
        else if (_caVersions.GetValueOrDefault(space) != known.ResourceVersion())
        {
            var map = await _client.GetAsync(ResourceKind.ConfigMap, space, RootCa, token);
            if (map.Text("data", "ca.crt") != _rootCaPem)
            {
                map.Child("data")["ca.crt"] = _rootCaPem;
                map = await _client.UpdateAsync(ResourceKind.ConfigMap, space, map, null, token);
            }

            _caVersions[space] = map.ResourceVersion();
        }

        return null;
    }

    private async Task CreateAsync(ResourceKind kind, string space, string name, JsonObject? data, CancellationToken token)
    {
        var obj = new JsonObject
        {
            ["apiVersion"] = kind.ApiVersion,
            ["kind"] = kind.Kind,
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = space },
        };
        if (data is not null)
            obj["data"] = data;
        try
        {
            await _client.CreateAsync(kind, space, obj, token);
        }
        catch (KubeException e) when (e.Reason == "AlreadyExists")
        {
            // The informer lags behind us.
        }
    }

    [LoggerMessage(3240, LogLevel.Debug, "namespace {Namespace} goes, waiting for {Remaining}")]
    private static partial void LogRemaining(ILogger logger, string @namespace, string remaining);

    [LoggerMessage(3241, LogLevel.Information, "namespace {Namespace} is empty and goes")]
    private static partial void LogEmpty(ILogger logger, string @namespace);

    [LoggerMessage(3242, LogLevel.Warning, "namespace {Namespace}: trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string @namespace, string message);
}
