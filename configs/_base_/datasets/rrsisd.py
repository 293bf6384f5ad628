# RRSISD: 12181 / 1740 / 3481 triplets. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='RRSISD', data_root='{{$RSREFSEG2_DATA:data}}/rrsisd')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
# The test prints this column beside its own.
test_evaluator = dict(category_beside={'Table IV': {
    'airport': 72.95, 'golffield': 79.09, 'Expressway-Service-area': 76.49,
    'baseballfield': 87.27, 'stadium': 88.73, 'groundtrackfield': 79.88,
    'storagetank': 79.05, 'basketballcourt': 74.91, 'chimney': 83.97, 'tenniscourt': 79.98,
    'overpass': 66.17, 'trainstation': 67.74, 'ship': 71.65,
    'Expressway-toll-station': 75.03, 'dam': 65.83, 'harbor': 46.79, 'bridge': 55.56,
    'vehicle': 55.1, 'windmill': 62.06, 'airplane': 72.95}})
