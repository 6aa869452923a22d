using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>Carries out what <see cref="EphemeralCore"/>, <see cref="BinderCore"/> and <see cref="ProtectionCore"/> decide. The informers may lag:
/// every write carries the version that it was decided from, and what cannot be taken back is asked of the API once more.</summary>
internal sealed partial class VolumeController : IAsyncDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    // What lasts is said again in its Event after this long.
    private static readonly TimeSpan s_eventEvery = TimeSpan.FromMinutes(5);

    private readonly IKubeClient _client;
    private readonly SharedInformer _claims;
    private readonly SharedInformer _volumes;
    private readonly SharedInformer _classes;
    private readonly SharedInformer _pods;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly EventRecorder _events;
    private readonly ReconcileLoop _loop;
    private readonly Dictionary<(string Uid, string Reason), (string Message, DateTimeOffset At)> _told = [];

    public VolumeController(
        IKubeClient client, SharedInformer claims, SharedInformer volumes, SharedInformer classes, SharedInformer pods, TimeProvider time, Random random, ILogger logger)
    {
        _client = client;
        _claims = claims;
        _volumes = volumes;
        _classes = classes;
        _pods = pods;
        _time = time;
        _logger = logger;
        _events = new EventRecorder(client, "persistentvolume-controller", time, logger);
        _loop = new ReconcileLoop("persistent volumes", PassAsync, time, random, logger);
        foreach (var informer in (SharedInformer[])[claims, volumes, classes])
            informer.Listen(_ => _loop.Wake());
        pods.Listen(change =>
        {
            // What a pod says of its state changes nothing here.
            if (PodClaims.Of(change.Object).Any()
                && (change.Type != ChangeType.Updated || change.Old.Text("spec", "nodeName") != change.Object.Text("spec", "nodeName")))
                _loop.Wake();
        });
    }

    public void Start() => _loop.Start();

    public ValueTask DisposeAsync() => _loop.DisposeAsync();

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        await Task.WhenAll(_claims.Synced, _volumes.Synced, _classes.Synced, _pods.Synced).WaitAsync(token);
        var world = new VolumeWorld(_claims.List(), _volumes.List(), _classes.List(), [.. _pods.List().Where(pod => PodClaims.Of(pod).Any())]);
        Forget(world);
        var retry = false;
        var tells = false;
        foreach (var action in (VolumeAction[])[.. EphemeralCore.Step(world), .. BinderCore.Step(world, _time.GetUtcNow()), .. ProtectionCore.Step(world)])
        {
            tells |= action is TellAction or CreateClaimAction;
            retry |= !await TryAsync(action, token);
        }

        return retry ? s_retry : tells ? s_eventEvery : null;
    }

    private async Task<bool> TryAsync(VolumeAction action, CancellationToken token)
    {
        try
        {
            await DoAsync(action, token);
            return true;
        }
        catch (KubeException e) when (e.Code is 404 or 409)
        {
            // The informer lags; the change that it has not shown yet wakes us.
            return true;
        }
        catch (KubeException e) when (e.Code is 403 or 422 && action is CreateClaimAction)
        {
            // Refused for good: the namespace goes, or the pod's name is too long for a claim's.
            await TellAsync(((CreateClaimAction)action).Pod, new VolumeEvent("Warning", "FailedBinding", $"ephemeral volume: create PVC {About(action).Name()}: {e.Message}"), token);
            return true;
        }
        catch (KubeException e)
        {
            LogFailed(_logger, action.GetType().Name, About(action).Namespace(), About(action).Name(), e.Message);
            return false;
        }
    }

    private async Task DoAsync(VolumeAction action, CancellationToken token)
    {
        switch (action)
        {
            case BindAction bind:
                await BindAsync(bind.Volume, bind.Claim, token);
                break;
            case WriteAction write:
                await _client.UpdateAsync(write.Kind, Space(write.Next), write.Next, write.Subresource, token);
                if (write.Event is { } said)
                    await TellAsync(write.Next, said, token);
                break;
            case LoseAction lose:
                if (lose.Claim.Text("spec", "volumeName") is { Length: > 0 } name
                    && await _client.TryGetAsync(ResourceKind.PersistentVolume, null, name, token) is { } volume
                    && (volume.At("spec", "claimRef") is null || volume.Text("spec", "claimRef", "uid") == lose.Claim.Uid()))
                    break;
                await _client.UpdateAsync(ResourceKind.PersistentVolumeClaim, lose.Claim.Namespace(), lose.Next, "status", token);
                LogLost(_logger, lose.Claim.Namespace(), lose.Claim.Name(), lose.Event.Message);
                await TellAsync(lose.Claim, lose.Event, token);
                break;
            case ReleaseAction release:
                var reference = release.Volume.At("spec", "claimRef");
                var claim = await _client.TryGetAsync(ResourceKind.PersistentVolumeClaim, reference.Text("namespace"), reference.Text("name"), token);
                if (claim is not null && claim.Uid() == reference.Text("uid"))
                    break;
                await _client.UpdateAsync(ResourceKind.PersistentVolume, null, release.Next, "status", token);
                LogReleased(_logger, release.Volume.Name(), reference.Text("namespace"), reference.Text("name"));
                break;
            case FreeClaimAction free:
                if ((await _client.ListAsync(ResourceKind.Pod, free.Claim.Namespace(), new ListOptions(), token)).Items.Any(pod => PodClaims.Holds(pod, free.Claim)))
                    break;
                await _client.UpdateAsync(ResourceKind.PersistentVolumeClaim, free.Claim.Namespace(), free.Next, null, token);
                break;
            case CreateClaimAction create:
                await _client.CreateAsync(ResourceKind.PersistentVolumeClaim, create.Claim.Namespace(), create.Claim, token);
                break;
            case TellAction tell:
                await TellAsync(tell.About, tell.Event, token);
                break;
            default:
                throw new System.Diagnostics.UnreachableException(action.GetType().Name);
        }
    }

    private async Task BindAsync(JsonObject volume, JsonObject claim, CancellationToken token)
    {
        volume = await WriteAsync(ResourceKind.PersistentVolume, VolumeWrites.Reserve(volume, claim), null, token) ?? volume;
        volume = await WriteAsync(ResourceKind.PersistentVolume, VolumeWrites.Phase(volume, "Bound", _time.GetUtcNow()), "status", token) ?? volume;
        claim = await WriteAsync(ResourceKind.PersistentVolumeClaim, VolumeWrites.Bind(claim, volume), null, token) ?? claim;
        await WriteAsync(ResourceKind.PersistentVolumeClaim, VolumeWrites.Bound(claim, volume), "status", token);
        LogBound(_logger, claim.Namespace(), claim.Name(), volume.Name());
    }

    private async Task<JsonObject?> WriteAsync(ResourceKind kind, JsonObject? next, string? subresource, CancellationToken token)
        => next is null ? null : await _client.UpdateAsync(kind, Space(next), next, subresource, token);

    private async Task TellAsync(JsonObject about, VolumeEvent said, CancellationToken token)
    {
        var now = _time.GetUtcNow();
        var key = (about.Uid(), said.Reason);
        if (_told.TryGetValue(key, out var told) && told.Message == said.Message && now - told.At < s_eventEvery)
            return;
        await _events.RecordAsync(about, said.Type, said.Reason, said.Message, token);
        _told[key] = (said.Message, now);
    }

    private void Forget(VolumeWorld world)
    {
        var uids = world.Claims.Concat(world.Volumes).Concat(world.Pods).Select(obj => obj.Uid()).ToHashSet(StringComparer.Ordinal);
        foreach (var key in _told.Keys.Where(key => !uids.Contains(key.Uid)).ToList())
            _told.Remove(key);
    }

    private static JsonObject About(VolumeAction action) => action switch
    {
        BindAction bind => bind.Claim,
        WriteAction write => write.Next,
        LoseAction lose => lose.Claim,
        ReleaseAction release => release.Volume,
        FreeClaimAction free => free.Claim,
        CreateClaimAction create => create.Claim,
        TellAction tell => tell.About,
        _ => throw new System.Diagnostics.UnreachableException(action.GetType().Name),
    };

    private static string? Space(JsonObject obj) => obj.Namespace() is { Length: > 0 } space ? space : null;

    [LoggerMessage(3280, LogLevel.Information, "claim {Namespace}/{Name} is bound to volume {Volume}")]
    private static partial void LogBound(ILogger logger, string @namespace, string name, string volume);

    [LoggerMessage(3281, LogLevel.Warning, "claim {Namespace}/{Name} is lost: {Why}")]
    private static partial void LogLost(ILogger logger, string @namespace, string name, string why);

    [LoggerMessage(3282, LogLevel.Information, "volume {Volume} is released: claim {Namespace}/{Name} is gone")]
    private static partial void LogReleased(ILogger logger, string volume, string @namespace, string name);

    [LoggerMessage(3283, LogLevel.Warning, "{Action} for {Namespace}/{Name} failed, trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string action, string @namespace, string name, string message);
}
