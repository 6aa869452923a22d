using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>The objects that decide about volumes, as they were at one moment.</summary>
internal sealed record VolumeWorld(
    IReadOnlyCollection<JsonObject> Claims, IReadOnlyCollection<JsonObject> Volumes, IReadOnlyCollection<JsonObject> Classes, IReadOnlyCollection<JsonObject> Pods);

/// <summary>An Event; <paramref name="Type"/> is Normal or Warning.</summary>
internal sealed record VolumeEvent(string Type, string Reason, string Message);

/// <summary>One thing to do about volumes.</summary>
internal abstract record VolumeAction;

/// <summary>Brings the two together, as far as they are not: volume, its phase, claim, its status, in this order, so that a claim that is
/// bound has a volume that knows it.</summary>
internal sealed record BindAction(JsonObject Volume, JsonObject Claim) : VolumeAction;

/// <summary>Writes a state (or its <paramref name="Subresource"/>), and then the Event.</summary>
internal sealed record WriteAction(ResourceKind Kind, JsonObject Next, string? Subresource, VolumeEvent? Event = null) : VolumeAction;

/// <summary>Writes the phase Lost, unless the volume is there after all.</summary>
internal sealed record LoseAction(JsonObject Claim, JsonObject Next, VolumeEvent Event) : VolumeAction;

/// <summary>Writes the phase Released, unless the claim is there after all.</summary>
internal sealed record ReleaseAction(JsonObject Volume, JsonObject Next) : VolumeAction;

/// <summary>Lets a claim go, unless a pod holds it after all.</summary>
internal sealed record FreeClaimAction(JsonObject Claim, JsonObject Next) : VolumeAction;

/// <summary>Says how it stands; said again only when it stands otherwise, or after a while.</summary>
internal sealed record TellAction(JsonObject About, VolumeEvent Event) : VolumeAction;

/// <summary>Makes the claim of a pod's ephemeral volume.</summary>
internal sealed record CreateClaimAction(JsonObject Pod, JsonObject Claim) : VolumeAction;
