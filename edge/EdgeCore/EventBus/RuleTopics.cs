using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EventBus;

/// <summary>The topics that Rules of the cloud take from this node (kubeedge-wire §5.6): on disk, so that what is published while the cloud is away, or after a restart without it, is kept for
/// it too.</summary>
/// <remarks><see cref="ApplyAsync"/> is called one at a time; <see cref="Matches"/> is safe from any thread.</remarks>
internal sealed class RuleTopics(IMetaStore meta, ILogger log)
{
    // Far more than rules that people write; a cloud that sends more is not believed.
    private const int TopicsMax = 10_000;

    private readonly LocalRows _rows = new("rules-topics");
    private readonly Dictionary<string, MqttLocalSubscription> _takers = [];
    private volatile ImmutableHashSet<string> _topics = [];
    private MqttBroker? _broker;
    private MqttClient? _client;
    private Func<MqttMessage, bool, ValueTask<MqttReasonCode>> _take = (_, _) => ValueTask.FromResult(MqttReasonCode.Success);
    private CancellationToken _stopping;

    /// <summary>Listens to what stands on the disk.</summary>
    /// <param name="take">Keeps a message for the cloud.</param>
    public void Start(MqttBroker? broker, MqttClient? client, Func<MqttMessage, bool, ValueTask<MqttReasonCode>> take, CancellationToken stopping)
    {
        (_broker, _client, _take, _stopping) = (broker, client, take, stopping);
        _topics = [.. _rows.Keys(meta)];
        foreach (var topic in _topics)
            Listen(topic);
        if (_topics.Count > 0)
            EventBusLog.RuleTopicsChanged(log, _topics.Count, Text());
    }

    /// <summary>Whether a rule takes this topic.</summary>
    public bool Matches(string topic)
    {
        foreach (var filter in _topics)
        {
            if (MqttTopic.Matches(filter, topic))
                return true;
        }

        return false;
    }

    /// <summary>Takes the whole set (Edge's cloud), or one topic more or less (a stock cloud).</summary>
    public async Task ApplyAsync(Message message, CancellationToken cancellationToken)
    {
        var wanted = message.Operation switch
        {
            Operations.Subscribe => _topics.Add(message.Resource),
            Operations.Unsubscribe => _topics.Remove(message.Resource),
            Operations.Update when message.Resource == RouterResources.Topics => ReadSet(message.Content),
            _ => null,
        };
        if (wanted is null || wanted.Count > TopicsMax)
        {
            EventBusLog.BadRuleTopic(log, message.Resource, wanted is null ? $"'{message.Operation}' with this content is not known" : $"there would be more than {TopicsMax}");
            return;
        }

        foreach (var topic in wanted.Where(topic => !_topics.Contains(topic) && Problem(topic) is not null).ToList())
        {
            EventBusLog.BadRuleTopic(log, topic, Problem(topic)!);
            wanted = wanted.Remove(topic);
        }

        if (wanted.SetEquals(_topics))
            return;
        try
        {
            foreach (var topic in wanted.Except(_topics))
                await _rows.PutAsync(meta, topic, [], cancellationToken);
            foreach (var topic in _topics.Except(wanted))
                await _rows.DeleteAsync(meta, topic, cancellationToken);
        }
        catch (StoreException e)
        {
            // It holds until the next start, and then the cloud tells it again.
            EventBusLog.BadRuleTopic(log, message.Resource, $"it could not be stored: {e.Message}");
        }

        var before = _topics;
        _topics = wanted;
        foreach (var topic in wanted.Except(before))
            Listen(topic);
        foreach (var topic in before.Except(wanted))
            await EndAsync(topic);
        EventBusLog.RuleTopicsChanged(log, wanted.Count, Text());
    }

    public async Task StopAsync()
    {
        foreach (var taker in _takers.Values)
            await taker.DisposeAsync();
        _takers.Clear();
    }

    private static string? Problem(string topic)
        => MqttTopic.ProblemOfFilter(topic) ?? (topic.StartsWith('$') ? "it begins with '$'" : null);

    private void Listen(string topic)
    {
        // What goes to the cloud anyway has its taker, and would go up twice.
        if (_broker is not null)
            _takers[topic] = _broker.AddTaker(new MqttTaker(topic, (message, canRefuse) => IsFirst(topic, message.Topic) ? _take(message, canRefuse) : ValueTask.FromResult(MqttReasonCode.Success)));
        if (_client is not null)
            _ = SubscribeAsync(_client, topic); // it waits for the connection; what it throws it logs
    }

    // Of filters that overlap one takes the message up.
    private bool IsFirst(string filter, string topic)
        => EventBusTopics.RouteOf(topic) == EventBusRoute.None && filter == _topics.Where(one => MqttTopic.Matches(one, topic)).Min(StringComparer.Ordinal);

    private async Task EndAsync(string topic)
    {
        if (_takers.Remove(topic, out var taker))
            await taker.DisposeAsync();
        if (_client is not null)
            _ = UnsubscribeAsync(_client, topic);
    }

    private async Task SubscribeAsync(MqttClient client, string topic)
    {
        try
        {
            await client.SubscribeAsync(new MqttTopicFilter(topic, new MqttSubscriptionOptions(MqttQos.AtLeastOnce)), 0, _stopping);
        }
        catch (MqttClientException e)
        {
            EventBusLog.BadRuleTopic(log, topic, e.Message);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // Stopping.
        }
    }

    private async Task UnsubscribeAsync(MqttClient client, string topic)
    {
        try
        {
            await client.UnsubscribeAsync(topic, _stopping);
        }
        catch (Exception e) when (e is MqttClientException or OperationCanceledException or ObjectDisposedException)
        {
            // What still comes is of no rule and goes nowhere.
        }
    }

    private static ImmutableHashSet<string>? ReadSet(ReadOnlyMemory<byte> content)
    {
        try
        {
            return JsonNode.Parse(content.Span) is JsonArray list && list.All(one => one is JsonValue value && value.TryGetValue<string>(out _)) ? [.. list.Select(one => one!.GetValue<string>())] : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private string Text()
    {
        var text = string.Join(", ", _topics.Order(StringComparer.Ordinal).Take(20));
        return _topics.Count > 20 ? text + ", …" : text;
    }
}
