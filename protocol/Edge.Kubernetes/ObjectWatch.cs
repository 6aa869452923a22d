namespace Edge.Kubernetes;

/// <summary>What a server in the same process may answer a watch with: the events themselves, not their JSON. Every such watch of one server gets the same objects, so none may be changed.</summary>
public abstract class ObjectWatch : HttpContent
{
    /// <summary>Set on the request of a watch that takes such an answer; a server elsewhere never sees it.</summary>
    public static readonly HttpRequestOptionsKey<bool> Asked = new("edge.kubernetes.objects");

    /// <summary>The events until the server ends the watch. Read once.</summary>
    /// <exception cref="KubeException">The server ended it with an ERROR event, 410 for a version too old.</exception>
    public abstract IAsyncEnumerable<WatchEvent> ReadAsync(CancellationToken cancellationToken);
}
