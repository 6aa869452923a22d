using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;
using Google.Protobuf;

namespace Edge.Protocol.Cri;

/// <summary>Typed calls of CRI v1 on a runtime's unix socket. Every call throws <see cref="GrpcException"/> when it fails; calls may
/// run at the same time.</summary>
/// <param name="endpoint">The runtime's socket, a path or <c>unix://</c> and a path.</param>
/// <param name="callTimeout">Deadline of ordinary calls (KubeEdge's runtimeRequestTimeout); pulls and stops take longer by their nature.</param>
public sealed class CriClient(string endpoint, TimeProvider time, TimeSpan callTimeout) : IDisposable
{
    private static readonly TimeSpan s_pullTimeout = TimeSpan.FromMinutes(15);

    private readonly GrpcChannel _channel = new(endpoint, time);

    /// <summary>The socket's path.</summary>
    public string SocketPath => _channel.SocketPath;

    public Task<VersionResponse> VersionAsync(CancellationToken cancellationToken)
        => RuntimeAsync("Version", new VersionRequest { Version = "v1" }, VersionResponse.Parser, cancellationToken);

    public Task<StatusResponse> StatusAsync(CancellationToken cancellationToken)
        => RuntimeAsync("Status", new StatusRequest(), StatusResponse.Parser, cancellationToken);

    /// <summary>The status with the runtime's own details (containerd: its configuration, a JSON text under <c>config</c>).</summary>
    public Task<StatusResponse> StatusDetailsAsync(CancellationToken cancellationToken)
        => RuntimeAsync("Status", new StatusRequest { Verbose = true }, StatusResponse.Parser, cancellationToken);

    /// <summary>Starts a sandbox and returns its id.</summary>
    public async Task<string> RunPodSandboxAsync(PodSandboxConfig config, string runtimeHandler, CancellationToken cancellationToken)
        => (await RuntimeAsync(
            "RunPodSandbox", new RunPodSandboxRequest { Config = config, RuntimeHandler = runtimeHandler }, RunPodSandboxResponse.Parser, cancellationToken)
            .ConfigureAwait(false)).PodSandboxId;

    /// <summary>Stops every container of the sandbox by force and its network; done already counts as done.</summary>
    public Task StopPodSandboxAsync(string id, CancellationToken cancellationToken)
        => RuntimeAsync("StopPodSandbox", new StopPodSandboxRequest { PodSandboxId = id }, StopPodSandboxResponse.Parser, cancellationToken);

    public Task RemovePodSandboxAsync(string id, CancellationToken cancellationToken)
        => RuntimeAsync("RemovePodSandbox", new RemovePodSandboxRequest { PodSandboxId = id }, RemovePodSandboxResponse.Parser, cancellationToken);

    public async Task<PodSandboxStatus> PodSandboxStatusAsync(string id, CancellationToken cancellationToken)
        => (await RuntimeAsync("PodSandboxStatus", new PodSandboxStatusRequest { PodSandboxId = id }, PodSandboxStatusResponse.Parser, cancellationToken)
            .ConfigureAwait(false)).Status;

    public async Task<IReadOnlyList<PodSandbox>> ListPodSandboxAsync(PodSandboxFilter? filter, CancellationToken cancellationToken)
        => (await RuntimeAsync("ListPodSandbox", new ListPodSandboxRequest { Filter = filter }, ListPodSandboxResponse.Parser, cancellationToken)
            .ConfigureAwait(false)).Items;

    /// <summary>Creates a container in a sandbox and returns its id; <paramref name="sandbox"/> is the configuration the sandbox was run with.</summary>
    public async Task<string> CreateContainerAsync(string sandboxId, ContainerConfig config, PodSandboxConfig sandbox, CancellationToken cancellationToken)
        => (await RuntimeAsync(
            "CreateContainer",
            new CreateContainerRequest { PodSandboxId = sandboxId, Config = config, SandboxConfig = sandbox },
            CreateContainerResponse.Parser,
            cancellationToken).ConfigureAwait(false)).ContainerId;

    public Task StartContainerAsync(string id, CancellationToken cancellationToken)
        => RuntimeAsync("StartContainer", new StartContainerRequest { ContainerId = id }, StartContainerResponse.Parser, cancellationToken);

    /// <summary>Sends the stop signal and, when <paramref name="grace"/> is over, kills; returns when the container has stopped.</summary>
    public Task StopContainerAsync(string id, TimeSpan grace, CancellationToken cancellationToken)
        => _channel.UnaryAsync(
            "/runtime.v1.RuntimeService/StopContainer",
            new StopContainerRequest { ContainerId = id, Timeout = (long)Math.Ceiling(grace.TotalSeconds) },
            StopContainerResponse.Parser,
            callTimeout + grace,
            cancellationToken);

    public Task RemoveContainerAsync(string id, CancellationToken cancellationToken)
        => RuntimeAsync("RemoveContainer", new RemoveContainerRequest { ContainerId = id }, RemoveContainerResponse.Parser, cancellationToken);

    public async Task<IReadOnlyList<Container>> ListContainersAsync(ContainerFilter? filter, CancellationToken cancellationToken)
        => (await RuntimeAsync("ListContainers", new ListContainersRequest { Filter = filter }, ListContainersResponse.Parser, cancellationToken)
            .ConfigureAwait(false)).Containers;

    public async Task<ContainerStatus> ContainerStatusAsync(string id, CancellationToken cancellationToken)
        => (await RuntimeAsync("ContainerStatus", new ContainerStatusRequest { ContainerId = id }, ContainerStatusResponse.Parser, cancellationToken)
            .ConfigureAwait(false)).Status;

    public Task UpdateContainerResourcesAsync(string id, LinuxContainerResources resources, CancellationToken cancellationToken)
        => RuntimeAsync(
            "UpdateContainerResources",
            new UpdateContainerResourcesRequest { ContainerId = id, Linux = resources },
            UpdateContainerResourcesResponse.Parser,
            cancellationToken);

    /// <summary>Runs a command in a container and collects its output; the runtime kills it after <paramref name="timeout"/>, never when that is zero.</summary>
    public Task<ExecSyncResponse> ExecSyncAsync(string id, IEnumerable<string> command, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var request = new ExecSyncRequest { ContainerId = id, Timeout = (long)Math.Ceiling(timeout.TotalSeconds) };
        request.Cmd.Add(command);
        return _channel.UnaryAsync(
            "/runtime.v1.RuntimeService/ExecSync", request, ExecSyncResponse.Parser,
            timeout > TimeSpan.Zero ? timeout + callTimeout : TimeSpan.Zero, cancellationToken);
    }

    public Task ReopenContainerLogAsync(string id, CancellationToken cancellationToken)
        => RuntimeAsync("ReopenContainerLog", new ReopenContainerLogRequest { ContainerId = id }, ReopenContainerLogResponse.Parser, cancellationToken);

    /// <summary>The URL that serves a streaming exec.</summary>
    public async Task<string> ExecAsync(ExecRequest request, CancellationToken cancellationToken)
        => (await RuntimeAsync("Exec", request, ExecResponse.Parser, cancellationToken).ConfigureAwait(false)).Url;

    /// <summary>The URL that serves a streaming attach.</summary>
    public async Task<string> AttachAsync(AttachRequest request, CancellationToken cancellationToken)
        => (await RuntimeAsync("Attach", request, AttachResponse.Parser, cancellationToken).ConfigureAwait(false)).Url;

    /// <summary>The URL that serves a streaming port-forward into the sandbox.</summary>
    public async Task<string> PortForwardAsync(PortForwardRequest request, CancellationToken cancellationToken)
        => (await RuntimeAsync("PortForward", request, PortForwardResponse.Parser, cancellationToken).ConfigureAwait(false)).Url;

    /// <summary>What the running containers that satisfy the filter use now.</summary>
    public async Task<IReadOnlyList<ContainerStats>> ListContainerStatsAsync(ContainerStatsFilter? filter, CancellationToken cancellationToken)
        => (await RuntimeAsync("ListContainerStats", new ListContainerStatsRequest { Filter = filter }, ListContainerStatsResponse.Parser, cancellationToken)
            .ConfigureAwait(false)).Stats;

    /// <summary>The sandbox's state with the runtime's own details (containerd: a JSON text under <c>info</c>).</summary>
    public Task<PodSandboxStatusResponse> PodSandboxDetailsAsync(string id, CancellationToken cancellationToken)
        => RuntimeAsync("PodSandboxStatus", new PodSandboxStatusRequest { PodSandboxId = id, Verbose = true }, PodSandboxStatusResponse.Parser, cancellationToken);

    /// <summary>The image, or null when the runtime does not have it.</summary>
    public async Task<Image?> ImageStatusAsync(string image, CancellationToken cancellationToken)
        => (await ImageAsync(
            "ImageStatus", new ImageStatusRequest { Image = new ImageSpec { Image = image } }, ImageStatusResponse.Parser, callTimeout, cancellationToken)
            .ConfigureAwait(false)).Image;

    /// <summary>Pulls an image and returns its reference (id or digest).</summary>
    public async Task<string> PullImageAsync(string image, AuthConfig? auth, PodSandboxConfig? sandbox, CancellationToken cancellationToken)
        => (await ImageAsync(
            "PullImage",
            new PullImageRequest { Image = new ImageSpec { Image = image }, Auth = auth, SandboxConfig = sandbox },
            PullImageResponse.Parser,
            s_pullTimeout,
            cancellationToken).ConfigureAwait(false)).ImageRef;

    public async Task<IReadOnlyList<Image>> ListImagesAsync(CancellationToken cancellationToken)
        => (await ImageAsync("ListImages", new ListImagesRequest(), ListImagesResponse.Parser, callTimeout, cancellationToken)
            .ConfigureAwait(false)).Images;

    public Task RemoveImageAsync(string image, CancellationToken cancellationToken)
        => ImageAsync(
            "RemoveImage", new RemoveImageRequest { Image = new ImageSpec { Image = image } }, RemoveImageResponse.Parser, callTimeout, cancellationToken);

    public Task<ImageFsInfoResponse> ImageFsInfoAsync(CancellationToken cancellationToken)
        => ImageAsync("ImageFsInfo", new ImageFsInfoRequest(), ImageFsInfoResponse.Parser, callTimeout, cancellationToken);

    /// <summary>What happens to sandboxes and containers from now on, until the runtime ends; containerd has it since 1.7, and is UNIMPLEMENTED before. Events may be lost: they say where to look, not what is.</summary>
    public IAsyncEnumerable<ContainerEventResponse> ContainerEventsAsync(CancellationToken cancellationToken)
        => _channel.ServerStreamAsync("/runtime.v1.RuntimeService/GetContainerEvents", new GetEventsRequest(), ContainerEventResponse.Parser, cancellationToken);

    public void Dispose() => _channel.Dispose();

    private Task<TResponse> RuntimeAsync<TRequest, TResponse>(
        string method, TRequest request, MessageParser<TResponse> parser, CancellationToken cancellationToken)
        where TRequest : IMessage
        where TResponse : IMessage<TResponse>
        => _channel.UnaryAsync("/runtime.v1.RuntimeService/" + method, request, parser, callTimeout, cancellationToken);

    private Task<TResponse> ImageAsync<TRequest, TResponse>(
        string method, TRequest request, MessageParser<TResponse> parser, TimeSpan deadline, CancellationToken cancellationToken)
        where TRequest : IMessage
        where TResponse : IMessage<TResponse>
        => _channel.UnaryAsync("/runtime.v1.ImageService/" + method, request, parser, deadline, cancellationToken);
}
