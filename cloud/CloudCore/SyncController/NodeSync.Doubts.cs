using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Common;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.SyncController;

/// <content>What a comparison could not decide: the API is asked.</content>
internal sealed partial class NodeSync
{
    private static readonly TimeSpan s_backoffMin = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);

    private void LookLater(SyncMember member, List<Doubt> doubts)
    {
        if (doubts.Count > 0 && !_doubts.TryAdd((member, doubts)))
            SyncLog.NotAsked(_logger, member.Session.Node, doubts[0].Has.Key, $"{DoubtsMax} nodes wait for that; it stays until the node connects again");
    }

    // Asks until the API has answered for each, or the node has another session. While it does not answer, it answers for no other node either.
    private async Task ResolveAllAsync(SyncMember member, List<Doubt> doubts, CancellationToken cancellationToken)
    {
        for (var failures = 1; (doubts = await ResolveAsync(member, doubts, cancellationToken)).Count > 0; failures++)
        {
            TimeSpan pause;
            lock (_gate)
            {
                pause = Backoff.FullJitter(failures, s_backoffMin, s_backoffMax, _random);
            }

            await Task.Delay(pause, _time, cancellationToken);
        }
    }

    // The API knows what our watch may not show yet: ask it before something is taken away or set back. Returns what it did not answer for.
    private async Task<List<Doubt>> ResolveAsync(SyncMember member, List<Doubt> doubts, CancellationToken cancellationToken)
    {
        var node = member.Session.Node;
        var open = new List<Doubt>();
        foreach (var doubt in doubts)
        {
            JsonObject? live;
            try
            {
                var kind = ManagedTypes.KindOf(doubt.Path.Type)!;
                live = await _kube.TryGetAsync(kind, kind.Namespaced ? doubt.Path.Namespace : null, doubt.Path.Name, cancellationToken);
            }
            catch (KubeException e)
            {
                // Taking away what should run is worse than leaving what should not for a while.
                // What the API refuses (a role that is missing) it will refuse again, and the readers are few.
                var isPassing = e.Code is 0 or 429 or >= 500;
                SyncLog.NotAsked(_logger, node, doubt.Has.Key, $"{e.Message}; it stays {(doubt.IsMissing ? "away " : "")}until the {(isPassing ? "API answers" : "node connects again")}");
                if (isPassing)
                    open.Add(doubt);
                continue;
            }

            lock (_gate)
            {
                if (Current(member.Session) != member)
                    return [];
                Resolve(member, doubt, live);
            }
        }

        lock (_gate)
        {
            return Current(member.Session) == member ? open : [];
        }
    }

    // Of an open session's difference, what the edge has not although it was sent: what it deleted before the cluster was restored is held back there by its tombstone. It comes back
    // only on the API's own word, since our watch may be behind the delete. What still waits to be sent is no news: if the edge holds it back, it tells its digest again.
    private static void DoubtMissing(ISyncSession session, InventoryDifference difference, InventoryPart part)
    {
        var told = part.Items.Select(item => item.Key).ToHashSet(StringComparer.Ordinal);
        foreach (var obj in difference.Send)
        {
            if (!told.Contains(obj.Resource) && !session.WillSend(obj.Uid) && ResourcePath.TryParse(obj.Resource, out var path))
                difference.Doubts.Add(new Doubt(new InventoryItem(obj.Resource, obj.Uid, obj.Version, 0), path, IsMissing: true));
        }

        difference.Send.RemoveAll(obj => !told.Contains(obj.Resource));
    }

    private void Resolve(SyncMember member, Doubt doubt, JsonObject? live)
    {
        var (has, path, isMissing) = doubt;
        if (isMissing)
        {
            if (Find(member, has.Key) is { } lacked && lacked.Uid == has.Uid && live is not null && live.Uid() == has.Uid)
                Deliver(member, lacked with { IsRepair = true });
        }
        else if (Find(member, has.Key) is not { } wanted)
        {
            if (live is not null && live.Uid() == has.Uid && live.Text("spec", "nodeName") == member.Session.Node)
                return; // the watch will show it
            TakeAway(member, has, path, isFinal: live is null || live.Uid() != has.Uid);
        }
        else if (wanted.Uid != has.Uid)
        {
            if (live is not null && live.Uid() == has.Uid)
                return;
            TakeAway(member, has, path, isFinal: true);
            Deliver(member, wanted);
        }
        else if (live is not null && live.Uid() == wanted.Uid && (live.Version() <= wanted.Version || new ObjectBody(live).Fingerprint == wanted.Body.Fingerprint))
        {
            // The watch is not behind in anything that matters to the edge (the end of the object it will show), so the edge has a version of a history that is no more.
            if (has.Fingerprint != wanted.Body.Fingerprint)
                Deliver(member, wanted with { IsRepair = has.Version >= wanted.Version });
        }
    }

    private void TakeAway(SyncMember member, InventoryItem has, ResourcePath path, bool isFinal) => Deliver(member, Inventory.GoneOf(has, path.Type, isFinal));
}
