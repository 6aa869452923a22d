using Edge.ApiServer.Storage;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer;

/// <summary>What is told of each change under the store's lock, each by itself: one that fails at an object costs neither the others nor the write their turn.</summary>
internal sealed partial class StoreFollowers(ILogger<StoreFollowers> log, (string Name, Action<StoredEvent> Apply)[] all)
{
    public void Apply(StoredEvent change)
    {
        foreach (var (name, apply) in all)
        {
            try
            {
                apply(change);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                FollowerFailed(log, name, change.Object.Resource.Plural, change.Object.Namespace, change.Object.Name, change.Version, e);
            }
        }
    }

    [LoggerMessage(EventId = 7103, Level = LogLevel.Error, Message = "FollowerFailed: {Follower} did not take in {Resource} {Namespace}/{Name} at version {Version} and goes by its state before until cloudcore starts anew; please report it")]
    private static partial void FollowerFailed(ILogger logger, string follower, string resource, string @namespace, string name, long version, Exception error);
}
